//! Where a caller is, for people: a location object (RFC 4119 with RFC 5139 and RFC 5491) as one line.
//!
//! Reads only. Document types and entities are not taken, so that a document is never larger than it is.

use roxmltree::{Document, Node, ParsingOptions};

/// XML nodes of one document.
const NODES_MAX: u32 = 512;
/// A line longer than this is cut: it is for a screen.
pub const LINE_CHARS_MAX: usize = 200;
/// Parts of a civic address (RFC 4776 §3.4, RFC 5139 §3.1), from the province to the room, as a Chinese address is read.
const CIVIC: [&str; 17] =
    ["A1", "A2", "A3", "A4", "A5", "A6", "PRD", "RD", "STS", "POD", "HNO", "HNS", "LMK", "LOC", "NAM", "FLR", "ROOM"];

/// The place that a PIDF-LO names: its civic address, then `latitude,longitude` in degrees (WGS 84) and the radius in
/// metres. `None` when it names none, or cannot be read.
pub fn line(document: &[u8]) -> Option<Box<str>> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(std::str::from_utf8(document).ok()?, options).ok()?;
    let info = document.descendants().find(|node| named(node, "location-info"))?;
    let parts = [info.descendants().find(|node| named(node, "civicAddress")).and_then(civic), point(info)];
    let line = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let line: String = line.chars().filter(|c| !c.is_control()).take(LINE_CHARS_MAX).collect();
    (!line.is_empty()).then(|| line.into())
}

/// By the local name: old equipment gets name spaces wrong.
fn named(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

fn text<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.text().map(str::trim).filter(|text| !text.is_empty())
}

fn civic(address: Node<'_, '_>) -> Option<String> {
    let part = |name: &&str| address.children().find(|node| named(node, name)).and_then(text);
    let parts: Vec<&str> = CIVIC.iter().filter_map(part).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn point(info: Node<'_, '_>) -> Option<String> {
    let position = info.descendants().find(|node| named(node, "pos")).and_then(text)?;
    let mut numbers = position.split_ascii_whitespace().map(str::parse::<f64>);
    let (latitude, longitude) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
        return None;
    }
    let radius = info.descendants().find(|node| named(node, "radius")).and_then(text);
    let radius = radius.and_then(|radius| radius.parse::<f64>().ok()).filter(|radius| (0.0..1e7).contains(radius));
    Some(match radius {
        Some(radius) => format!("{latitude:.5},{longitude:.5} ±{radius:.0} m"),
        None => format!("{latitude:.5},{longitude:.5}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pidf(info: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
             xmlns:gp=\"urn:ietf:params:xml:ns:pidf:geopriv10\" xmlns:gml=\"http://www.opengis.net/gml\" \
             xmlns:gs=\"http://www.opengis.net/pidflo/1.0\" xmlns:ca=\"urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr\" \
             entity=\"pres:caller@fj.cn\"><tuple id=\"1\"><status><gp:geopriv><gp:location-info>{info}\
             </gp:location-info><gp:usage-rules/></gp:geopriv></status></tuple></presence>"
        )
    }

    fn read(info: &str) -> Option<String> {
        line(pidf(info).as_bytes()).map(Into::into)
    }

    #[test]
    fn an_address_and_a_circle_are_one_line() {
        let civic = "<ca:civicAddress><ca:country>CN</ca:country><ca:HNO>128号</ca:HNO><ca:A1>福建省</ca:A1>\
                     <ca:A2>福州市</ca:A2><ca:A3>鼓楼区</ca:A3><ca:RD> 五四路 </ca:RD><ca:FLR/></ca:civicAddress>";
        let circle = "<gs:Circle srsName=\"urn:ogc:def:crs:EPSG::4326\"><gml:pos>26.0894 119.3012</gml:pos>\
                      <gs:radius uom=\"urn:ogc:def:uom:EPSG::9001\">50</gs:radius></gs:Circle>";
        assert_eq!(read(civic).as_deref(), Some("福建省 福州市 鼓楼区 五四路 128号"));
        assert_eq!(read(circle).as_deref(), Some("26.08940,119.30120 ±50 m"));
        let both = format!("{circle}{civic}");
        assert_eq!(read(&both).as_deref(), Some("福建省 福州市 鼓楼区 五四路 128号; 26.08940,119.30120 ±50 m"));
        let point = "<gml:Point srsName=\"urn:ogc:def:crs:EPSG::4326\"><gml:pos>-26.5 119</gml:pos></gml:Point>";
        assert_eq!(read(point).as_deref(), Some("-26.50000,119.00000"));
    }

    #[test]
    fn what_names_no_place_is_none() {
        for broken in
            ["", "<gml:pos>91 0</gml:pos>", "<gml:pos>a b</gml:pos>", "<gml:pos>1</gml:pos>", "<ca:civicAddress/>"]
        {
            assert_eq!(read(broken), None, "{broken}");
        }
        for broken in
            [&b""[..], b"<presence/>", b"\xff\xfe", b"<a><b></a>", b"<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"]
        {
            assert_eq!(line(broken), None, "{broken:?}");
        }
        let many = "<gml:a/>".repeat(NODES_MAX as usize);
        assert_eq!(read(&format!("{many}<gml:pos>1 2</gml:pos>")), None, "a document has its bounds");
        let long = format!("<ca:civicAddress><ca:A1>{}</ca:A1></ca:civicAddress>", "省".repeat(300));
        assert_eq!(read(&long).map(|line| line.chars().count()), Some(LINE_CHARS_MAX));
    }
}
