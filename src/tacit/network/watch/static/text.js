// What the page says, in English and Chinese, and which of them the reader wants.

export const TEXT = {
  en: {
    skip: "Skip to the content", progress: "Progress", participants: "Participants", curves: "Round by round",
    attempts: "Last attempts", privacy: "Privacy", security: "Security", load: "Coordinator", failures: "Refused requests",
    footer: "Nothing of single participants is shown here: only counts, sums over a cohort, and how the coordinator itself does.",
    state: { gathering: "Gathering participants", training: "Training", finished: "Finished", failed: "Failed", stopping: "Stopping" },
    live: "live", updated: "updated {0} ago",
    unreachable: "The coordinator cannot be reached.",
    unreachableHow: "What is shown below is {0} old. Trying again every few seconds. Is the process running, and the network there? `tacit doctor {1}` looks.",
    unreachableNever: "Trying again every few seconds. Is the process running, and the network there? `tacit doctor {1}` looks.",
    refused: "The coordinator does not show its run to this browser any more.", refusedHow: "Sign in again: open /login.",
    insecure: "This run is NOT secure: do not use it with real data.",
    insecureHow: "Unsafe settings that are on: {0}.",
    roundOf: "Round {0}", ofRounds: "of {0}", started: "Started", elapsed: "Running for", left: "Time left", perRound: "A round takes",
    current: "Now", waitingFor: "waiting for participants", attemptOf: "round {0}, attempt {1}", done: "{0} % done", unknown: "not known yet",
    expected: "Take part", enrolled: "Enrolled", approved: "Approved the terms", online: "Online", withdrawn: "Withdrawn", revoked: "Revoked",
    stillMissing: "{0} more must enrol and approve before training begins.", versions: "Versions: {0}",
    peopleBar: "{0} online, {1} approved and away, {2} enrolled without approval; {3} take part",
    loss: "Training loss", epsilon: "Privacy spent (ε)", seconds: "Seconds per round", traffic: "Bytes per round", clients: "Reports counted", update_norm: "Update norm",
    testPart: "Test: {0}", validationPart: "Validation: {0}", cohortPart: "Cohort: {0}", metrics: "Model, measured",
    up: "received", down: "sent", log: "log", logHint: "Logarithmic axis", latest: "latest {0}", budget: "budget {0}",
    curveHint: "{0}: {1} rounds, latest {2}. Left and right arrow keys read the values.", round: "round {0}", roundAxis: "round",
    nothingYet: "No round is done yet.", noAttempts: "No round was tried yet.",
    attemptRound: "Round", attemptState: "State", attemptSteps: "Steps: answered of asked", attemptTook: "Took", attemptN: "attempt {0}", began: "began {0}",
    attemptStates: { open: "open", collecting: "collecting", shared: "secrets shared", masked: "reports in", summed: "summed", published: "published", abandoned: "abandoned" },
    steps: { train: "train", share: "share secrets", mask: "hidden report", confirm: "survivors", unmask: "open the sum" },
    causes: { refused: "refused by its policy", data: "data", memory: "memory", session: "rules of the secure sum", unexpected: "fault", late: "too late", absent: "lost contact", restarted: "started anew", revoked: "revoked", withdrawn: "withdrew", malformed: "malformed answer", conflict: "two different answers" },
    answered: "answered", failed: "failed", pending: "waited for", stepBar: "{0}: {1} of {2} answered, {3} failed, {4} waited for",
    noPrivacy: "No formal privacy: this run adds no noise to what it releases.", spentOf: "ε {0} of {1} spent", spent: "ε {0} spent", delta: "δ", unit: "Protects", mechanism: "By",
    units: { user: "all that a participant sends", record: "every record of a participant" },
    statement: "Read the statement: what is protected, and what is not", noStatement: "No statement yet.",
    tls: "Encrypted by TLS {0}", noTls: "NOT encrypted: whoever listens reads everything", tlsHow: "Every connection.", noTlsHow: "Only for trying it out on one machine.",
    mutual: "Participants show certificates", noMutual: "No client certificates", mutualHow: "Mutual TLS, beside their signatures.", noMutualHow: "Participants are known by their signatures.",
    secureSum: "Secure sum: the coordinator sees no single report", secureSumHow: "At least {0} together; {1} neighbours each, {2} shares rebuild a secret, {3} bits.",
    noSecureSum: "The coordinator sees every single report", noSecureSumHow: "Reports are added in clear (aggregation = none).",
    safe: "No unsafe setting is on", unsafe: "Unsafe setting: {0}",
    requests: "Requests", received: "Received", sent: "Sent", connections: "Connections", memory: "Memory", lag: "Event loop late by", uptime: "Up for", lagWarn: "The event loop is late: the machine is overloaded.",
    noFailures: "None.", code: "Code", count: "How often", meaning: "Meaning",
    codes: { malformed: "no message of this protocol", unsigned: "no valid signature", skewed: "a clock that is off", replayed: "a request sent twice", revoked: "revoked, or withdrawn", forbidden: "a wrong or spent token, or somebody else's", unknown: "no such thing", slow: "a body that came too slowly", conflict: "two different answers", gone: "an answer after its step was closed", too_large: "too many bytes", upgrade: "another version of the protocol", too_many: "too many requests", busy: "the coordinator had no room" },
    about: "tacit {0} · run {1} · terms {2}", units_time: ["s", "min", "h", "d"], none: "–", yes: "yes", no: "no",
  },
  zh: {
    skip: "跳到正文", progress: "进度", participants: "参与方", curves: "逐轮变化",
    attempts: "最近的轮次尝试", privacy: "隐私", security: "安全", load: "协调器", failures: "被拒绝的请求",
    footer: "此处不显示任何单个参与方的信息：只有计数、整组之和，以及协调器自身的状况。",
    state: { gathering: "等待参与方", training: "训练中", finished: "已完成", failed: "已失败", stopping: "正在停止" },
    live: "实时", updated: "{0}前更新",
    unreachable: "无法连接到协调器。",
    unreachableHow: "以下内容是 {0}前的状态。每隔几秒自动重试。请检查进程是否在运行、网络是否畅通：`tacit doctor {1}`。",
    unreachableNever: "每隔几秒自动重试。请检查进程是否在运行、网络是否畅通：`tacit doctor {1}`。",
    refused: "协调器不再向此浏览器显示运行情况。", refusedHow: "请重新登录：打开 /login。",
    insecure: "本次运行不安全：请勿用于真实数据。",
    insecureHow: "已启用的不安全设置：{0}。",
    roundOf: "第 {0} 轮", ofRounds: "共 {0} 轮", started: "开始于", elapsed: "已运行", left: "预计剩余", perRound: "每轮用时",
    current: "当前", waitingFor: "等待参与方加入", attemptOf: "第 {0} 轮，第 {1} 次尝试", done: "已完成 {0}%", unknown: "尚不可知",
    expected: "参加", enrolled: "已注册", approved: "已批准条款", online: "在线", withdrawn: "已退出", revoked: "已吊销",
    stillMissing: "还需 {0} 个参与方注册并批准条款，训练才会开始。", versions: "版本：{0}",
    peopleBar: "在线 {0}，已批准但离线 {1}，已注册未批准 {2}；{3} 个参加",
    loss: "训练损失", epsilon: "已消耗的隐私预算（ε）", seconds: "每轮秒数", traffic: "每轮字节数", clients: "计入的报告数", update_norm: "更新的范数",
    testPart: "测试：{0}", validationPart: "验证：{0}", cohortPart: "参与组：{0}", metrics: "模型的测量结果",
    up: "接收", down: "发送", log: "对数", logHint: "对数坐标轴", latest: "最新 {0}", budget: "预算 {0}",
    curveHint: "{0}：共 {1} 轮，最新值 {2}。用左右方向键读取数值。", round: "第 {0} 轮", roundAxis: "轮",
    nothingYet: "尚未完成任何一轮。", noAttempts: "尚未尝试任何一轮。",
    attemptRound: "轮次", attemptState: "状态", attemptSteps: "各步骤：应答数 / 询问数", attemptTook: "用时", attemptN: "第 {0} 次尝试", began: "开始于 {0}",
    attemptStates: { open: "已开启", collecting: "收集中", shared: "秘密已分享", masked: "报告已收齐", summed: "已求和", published: "已发布", abandoned: "已放弃" },
    steps: { train: "训练", share: "分享秘密", mask: "隐藏的报告", confirm: "确认名单", unmask: "打开总和" },
    causes: { refused: "被其策略拒绝", data: "数据问题", memory: "内存不足", session: "违反安全求和规则", unexpected: "意外故障", late: "太迟", absent: "失去联系", restarted: "进程已重启", revoked: "已吊销", withdrawn: "已退出", malformed: "应答格式错误", conflict: "两次应答不一致" },
    answered: "已应答", failed: "失败", pending: "等待中", stepBar: "{0}：{2} 个中 {1} 个已应答，{3} 个失败，{4} 个等待中",
    noPrivacy: "没有形式化的隐私保证：本次运行不对发布的内容加噪声。", spentOf: "已消耗 ε {0}，预算 {1}", spent: "已消耗 ε {0}", delta: "δ", unit: "保护对象", mechanism: "机制",
    units: { user: "参与方发送的全部内容", record: "参与方的每一条记录" },
    statement: "阅读声明：保护什么，不保护什么", noStatement: "尚无声明。",
    tls: "由 TLS {0} 加密", noTls: "未加密：任何窃听者都能读到全部内容", tlsHow: "适用于每个连接。", noTlsHow: "仅供在单台机器上试用。",
    mutual: "参与方出示证书", noMutual: "不使用客户端证书", mutualHow: "双向 TLS，并附请求签名。", noMutualHow: "以签名识别参与方。",
    secureSum: "安全求和：协调器看不到任何单个报告", secureSumHow: "至少 {0} 个一起求和；每个有 {1} 个邻居，{2} 份可重建一个秘密，{3} 位整数。",
    noSecureSum: "协调器能看到每一个报告", noSecureSumHow: "报告以明文相加（aggregation = none）。",
    safe: "没有启用不安全的设置", unsafe: "不安全的设置：{0}",
    requests: "请求数", received: "接收", sent: "发送", connections: "连接数", memory: "内存", lag: "事件循环延迟", uptime: "已启动", lagWarn: "事件循环延迟：机器负载过重。",
    noFailures: "无。", code: "代码", count: "次数", meaning: "含义",
    codes: { malformed: "不是本协议的消息", unsigned: "没有有效签名", skewed: "时钟不准", replayed: "重复发送的请求", revoked: "已吊销或已退出", forbidden: "令牌错误或已用过，或属于他人", unknown: "不存在", slow: "正文传输太慢", conflict: "两次应答不一致", gone: "步骤结束后才到的应答", too_large: "字节过多", upgrade: "协议版本不同", too_many: "请求过于频繁", busy: "协调器没有余量" },
    about: "tacit {0} · 运行 {1} · 条款 {2}", units_time: ["秒", "分", "小时", "天"], none: "–", yes: "是", no: "否",
  },
};

const KEPT = "tacit-language";

export let language = chosen();

function chosen() {
  let kept = null;
  try { kept = localStorage.getItem(KEPT); } catch { /* a browser may keep nothing */ }
  if (kept in TEXT) return kept;
  return (navigator.languages ?? [navigator.language]).find((name) => /^(en|zh)\b/i.test(name))?.slice(0, 2).toLowerCase() ?? "en";
}

export function choose(name) {
  language = name;
  try { localStorage.setItem(KEPT, name); } catch { /* then it is asked again next time */ }
}

export function t(key, ...parts) {
  return String(TEXT[language][key] ?? key).replace(/\{(\d)\}/g, (_, place) => parts[place] ?? "");
}

// The words for a name that the coordinator gives; the name itself where there are none.
export function named(kind, name) {
  const known = TEXT[language][kind];
  return Object.hasOwn(known, name) ? known[name] : String(name).replaceAll("_", " ");
}

export function timeUnits() { return TEXT[language].units_time; }
