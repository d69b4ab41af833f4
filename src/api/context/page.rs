//! The page that a link opens: one HTML document with its own style and nothing else, for whoever answers at a target.
//!
//! Owns its words and looks. What it shows is escaped, whatever it is: most of it was written by others.

use super::{ShownContext, ShownOrder};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::LazyLock;

/// The style of the page at `/`, as far as it is needed here.
const STYLE: &str = include_str!("page.css");

/// Nothing but this style; nobody may frame the page.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// Writes the page. Times are those of `zone`.
pub(super) fn write(shown: &ShownContext, city: &str, zone: &TimeZone) -> String {
    let mut rows = String::new();
    let at = |ms: i64| {
        let at = jiff::Timestamp::from_millisecond(ms).map(|at| at.to_zoned(zone.clone()));
        at.map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
    };
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            put(&mut rows, format_args!("<dt>{name}</dt><dd>{}</dd>\n", escaped(value)));
        }
    };
    row("来电位置", shown.place.as_deref().unwrap_or_default());
    row("转接原因", &shown.reason);
    row("转接话务员", &shown.agent);
    row("转接至", &shown.target);
    row("来电时间", &at(shown.called));
    row("接听时间", &shown.answered.map(at).unwrap_or_default());
    row("转接时间", &at(shown.started));
    if let Some(ShownOrder { id, category, state, ticket, emergency, opened, .. }) = &shown.order {
        row("工单编号", id);
        row("工单状态", state_word(state));
        row("诉求类别", category);
        row("紧急", if *emergency { "是" } else { "" });
        row("警单编号", ticket.as_deref().unwrap_or_default());
        row("建单时间", &at(*opened));
    }
    row("联络编号", &shown.contact);
    let caller = if shown.caller.is_empty() { "未显示号码" } else { &shown.caller };
    let drill = if shown.drill { "<p class=\"drill\" role=\"alert\">演练 · 非真实来电</p>\n" } else { "" };
    format!(
        "<!doctype html>\n<html lang=\"zh-CN\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex, nofollow\">\n\
         <title>来电信息 · {city}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{drill}\
         <header><h1><span class=\"brand\">接诉</span> {city}</h1></header>\n\
         <main>\n<p class=\"label\">来电号码</p>\n<p class=\"caller\">{}</p>\n<dl>\n{rows}</dl>\n\
         <p class=\"note\">本页含公民个人信息，仅供本次转接使用，请勿转发。</p>\n</main>\n</body>\n</html>\n",
        escaped(caller),
        city = escaped(city),
    )
}

fn state_word(state: &str) -> &str {
    match state {
        "draft" => "草稿",
        other => other,
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes everything");
}

/// For text and for attributes in quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> ShownContext {
        ShownContext {
            contact: "01HX".into(),
            transfer: 1,
            site: "fz".into(),
            target: "water".into(),
            kind: "utility".into(),
            drill: false,
            mode: "consult".into(),
            reason: "<script>alert(\"1\")</script> & 'x'".into(),
            agent: "1001".into(),
            caller: "+8613800138000".into(),
            place: Some("鼓楼区<b>".into()),
            called: 0,
            answered: None,
            started: 1_700_000_000_500,
            order: None,
        }
    }

    #[test]
    fn whatever_was_written_it_stays_text() {
        let page = write(&shown(), "福州<12345>", &TimeZone::get("Asia/Shanghai").unwrap());
        assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;"), "{page}");
        assert!(
            page.contains("鼓楼区&lt;b&gt;") && page.contains("福州&lt;12345&gt;") && !page.contains("<script"),
            "{page}"
        );
        assert!(page.contains("2023-11-15 06:13:20"), "the site's own time: {page}");
        assert!(!page.contains("演练") && !page.contains("style=") && !page.contains("http"), "{page}");
    }

    #[test]
    fn an_exercise_says_so_and_a_withheld_number_too() {
        let page = write(&ShownContext { drill: true, caller: "".into(), ..shown() }, "福州", &TimeZone::UTC);
        assert!(page.contains("演练") && page.contains("未显示号码"), "{page}");
    }
}
