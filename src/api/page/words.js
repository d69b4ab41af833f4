// Every word of the page, in both languages.

const WORDS = {
  "zh-CN": {
    subtitle: "12345 热线实况", language: "English", signOut: "退出", signIn: "请输入访问令牌",
    signInWhy: "令牌写在 jiesu.toml 的 [[api.token]] 里；make run 打印的地址已经带上演示令牌。", token: "令牌", enter: "进入",
    refused: "这个令牌不被接受。", sites: "各站点概况", chart: "最近 5 分钟：排队与通话", calls: "进行中的来电", agents: "话务员",
    records: "最近结束的来电与录音", own: "用自己的话机试一试",
    ownHow: "任何 SIP 软电话都可以注册为下面的话务员。注册后点“示闲”，来电就会打到您的话机；也可以直接拨打 12345 当一次市民。",
    waiting: "排队", ringing: "振铃", talking: "通话", ready: "示闲", longest: "最长等待",
    offered: "来电", ivr: "语音导航", queued: "排队", offline: "离线", not_ready: "示忙", forced: "强制：", wrap_up: "话后整理",
    linked: "实时", linking: "连接中…", lost: "事件连接中断，正在重连", busyNode: "引擎繁忙，正在重试",
    noCalls: "现在没有来电。用 make run 启动会有模拟市民打进来；也可以用软电话拨打 12345。",
    noRecords: "还没有结束的来电。第一通来电结束后，这里会出现话单，并可以播放录音。", notYours: "这个令牌看不到话单和录音。",
    noAgents: "还没有话务员。用 jiesu agent add 添加。",
    time: "时间", caller: "主叫", dialled: "被叫", waited: "等待", talked: "通话", agent: "话务员", end: "结束", order: "工单", sound: "录音",
    play: "播放", newest: "最新录音", recording: "录音", left: "上：市民", right: "下：提示音与话务员", unplayable: "录音读不出来",
    phoneUp: "话机已注册", seat: "座席", phoneDown: "话机未注册", user: "用户名", password: "密码", domain: "域 / 服务器", proxy: "出站代理", dial: "拨打",
    phone: "话机", ready_do: "示闲", not_ready_do: "示忙", state: "状态", refusedDo: "没有成功", site: "站点", unanswered: "未接通",
    by_caller: "市民挂机", by_agent: "话务员挂机", by_flow: "流程结束", by_refused: "拒绝", by_operator: "人工拆线", by_network: "网络中断", by_fault: "故障",
    alertEmergency: "正在接入紧急线路", drill: "演练", dialByHand: "线路未接通，请人工拨打", dialling: "呼叫中", consulting: "咨询中", joined: "三方通话", handed: "已转交",
    said_offered: "新来电", said_talking: "已接通", said_ringing: "正在振铃", ago: "分钟前", now: "现在", hidden: "号码未显示",
  },
  en: {
    subtitle: "12345 hotline, live", language: "中文", signOut: "Sign out", signIn: "Enter an access token",
    signInWhy: "Tokens are in jiesu.toml under [[api.token]]; the address that make run prints carries the demo's.", token: "Token", enter: "Enter",
    refused: "This token is not accepted.", sites: "Sites", chart: "Last 5 minutes: waiting and talking", calls: "Live calls", agents: "Agents",
    records: "Finished calls and their recordings", own: "Try it with your own phone",
    ownHow: "Any SIP softphone can register as one of these agents. Press Ready and calls will ring you; or dial 12345 and be a citizen.",
    waiting: "Waiting", ringing: "Ringing", talking: "Talking", ready: "Ready", longest: "longest wait",
    offered: "Arriving", ivr: "Greeting", queued: "Waiting", offline: "Offline", not_ready: "Not ready", forced: "by", wrap_up: "Wrap-up",
    linked: "Live", linking: "Connecting…", lost: "The event link is lost, reconnecting", busyNode: "The engine is busy, trying again",
    noCalls: "No calls now. Started with make run, simulated citizens call; or dial 12345 with a softphone.",
    noRecords: "No finished calls yet. After the first one its record and recording appear here.", notYours: "This token may not see records and recordings.",
    noAgents: "No agents yet. Add one with jiesu agent add.",
    time: "Time", caller: "Caller", dialled: "Dialled", waited: "Waited", talked: "Talked", agent: "Agent", end: "End", order: "Order", sound: "Recording",
    play: "Play", newest: "Newest recording", recording: "Recording", left: "top: citizen", right: "bottom: prompts and agent", unplayable: "The recording cannot be read",
    phoneUp: "phone registered", seat: "seat", phoneDown: "phone not registered", user: "User", password: "Password", domain: "Domain / server", proxy: "Outbound proxy", dial: "Dial",
    phone: "Phone", ready_do: "Ready", not_ready_do: "Not ready", state: "State", refusedDo: "It did not work", site: "Site", unanswered: "unanswered",
    by_caller: "citizen hung up", by_agent: "agent hung up", by_flow: "flow ended", by_refused: "refused", by_operator: "ended by hand", by_network: "network", by_fault: "fault",
    alertEmergency: "Emergency line being brought in", drill: "DRILL", dialByHand: "not reached: dial by hand", dialling: "dialling", consulting: "consulting", joined: "three-way", handed: "handed over",
    said_offered: "New call", said_talking: "Answered", said_ringing: "Ringing", ago: "min ago", now: "now", hidden: "number withheld",
  },
};

const KEPT = "jiesu.language";
let language = localStorage.getItem(KEPT) ?? (navigator.language.startsWith("zh") ? "zh-CN" : "en");
if (!(language in WORDS)) language = "zh-CN";

export const word = (name) => WORDS[language][name] ?? name;

/** Writes the words of the static part. */
export function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", word(element.dataset.label));
}

export function switchLanguage() {
  language = language === "en" ? "zh-CN" : "en";
  localStorage.setItem(KEPT, language);
}
