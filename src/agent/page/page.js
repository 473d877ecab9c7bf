"use strict";
// Texts of the ledger only ever become text nodes: nothing here makes markup out of them.

const byId = (id) => document.getElementById(id);
const shown = (text) =>
  String(text ?? "").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu, "\ufffd");

function el(tag, classes, ...children) {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === "") continue;
    made.append(child instanceof Node ? child : shown(child));
  }
  return made;
}
const text = (value, classes = "") => el("span", `text ${classes}`, value);
const chip = (kind, value) => el("span", `chip text ${kind}`, value);

let token = sessionStorage.getItem("token") ?? "";
let clock = 0; // How much the agent's clock is ahead of ours.
let status = null;
const tasks = new Map();
const opened = new Set();

class Denied extends Error {}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.status === 401) throw new Denied();
  if (!answer.ok) throw new Error((await answer.text()).trim() || `the agent answers ${answer.status}`);
  return answer;
}

function ago(ms) {
  if (!ms) return "";
  const seconds = Math.round((Date.now() + clock - ms) / 1000);
  const past = Math.abs(seconds);
  const words = past < 90 ? `${past} s` : past < 5400 ? `${Math.round(past / 60)} min`
    : past < 129600 ? `${Math.round(past / 3600)} h` : `${Math.round(past / 86400)} d`;
  return seconds >= 0 ? `${words} ago` : `in ${words}`;
}
function lasted(from, to) {
  if (!from || !to) return "";
  const ms = Math.max(0, to - from);
  return ms < 1000 ? `${ms} ms` : ms < 90000 ? `${(ms / 1000).toFixed(1)} s` : ms < 5400000 ? `${Math.round(ms / 60000)} min`
    : ms < 129600000 ? `${Math.round(ms / 3600000)} h` : `${Math.round(ms / 86400000)} d`;
}

const kinds = {
  done: "good", success: "good", committed: "good", agreed: "good",
  waiting: "wait", queued: "", running: "wait", held: "wait", approved: "wait", acknowledged: "wait", proposed: "wait",
  failed: "bad", refused: "bad", failure: "bad", disagreed: "bad", rejected: "bad",
};
const kind = (word) => (Object.hasOwn(kinds, word) ? kinds[word] : "");
const works = {
  prepareToDeploy: "Prepare", deploy: "Deploy", updateChannel: "Update channel", catchUp: "Catch up",
  joinChannel: "Join channel", deployContract: "Deploy contract", installPackage: "Install package",
};
const work = (task) => (Object.hasOwn(works, task) ? works[task] : task);
const blocks = (height) => (height === 1 ? "1 block" : `${height} blocks`);

function task(record) {
  const what = record.chaincode ? `${record.chaincode}${record.sequence ? ` · sequence ${record.sequence}` : ""}` : "";
  const item = el("div", "item",
    el("div", "line",
      chip(kind(record.state), record.state),
      el("h3", "grow text", `${work(record.task)}: ${record.proposal}`),
      text(ago(record.updatedMs), "quiet")),
    el("div", "line quiet", text([what, record.channel ? `on ${record.channel}` : ""].filter(Boolean).join(" ")),
      record.attempts > 1 ? text(`taken up ${record.attempts} times`) : null,
      record.nextTryMs && record.state !== "done" ? text(`next try ${ago(record.nextTryMs)}`) : null));
  if (record.outcome) {
    const classes = record.state === "failed" ? "error" : ["waiting", "held"].includes(record.state) ? "waiting" : "quiet";
    item.append(el("p", `text ${classes}`, record.outcome));
  }
  if (record.steps?.length) {
    const key = `${record.task} ${record.proposal}`;
    const steps = record.steps.map((step) => el("li", "",
      el("div", "line",
        chip(kind(step.result), step.result), text(step.step), step.peer ? text(step.peer, "quiet") : null,
        text(lasted(step.beganMs, step.endedMs), "quiet"),
        step.attempts > 1 ? text(`${step.attempts} attempts`, "quiet") : null),
      step.detail ? el("div", `text ${step.result === "refused" ? "error" : step.result === "waiting" ? "waiting" : "quiet"}`,
        step.detail) : null));
    const details = el("details", "", el("summary", "", steps.length === 1 ? "1 step" : `${steps.length} steps`), el("ol", "steps", steps));
    details.open = opened.has(key) || record.state === "running" || record.state === "waiting";
    details.addEventListener("toggle", () => details.open ? opened.add(key) : opened.delete(key));
    item.append(details);
  }
  return item;
}

function fill(id, items, none) {
  byId(id).replaceChildren(...(items.length ? items : [el("p", "quiet", none)]));
}

function drawTasks() {
  const all = [...tasks.values()].sort((one, other) => other.updatedMs - one.updatedMs);
  const isOpen = (record) => ["queued", "running", "waiting", "held"].includes(record.state);
  fill("open", all.filter(isOpen).map(task), "Nothing is under way.");
  fill("past", all.filter((record) => !isOpen(record)).slice(0, 100).map(task), "Nothing was done yet.");
}

function channel(view) {
  const chaincodes = view.chaincodes.map((chaincode) => el("div", "item",
    el("div", "line", text(chaincode.name), text(`sequence ${chaincode.sequence} · version ${chaincode.version}`, "quiet")),
    el("div", "approvals", Object.entries(chaincode.approvals).map(([organization, approved]) =>
      chip(approved ? "good" : "wait", `${approved ? "✓" : "…"} ${organization}`)))));
  return el("div", "item",
    el("div", "line", el("h3", "text", view.name), view.kind ? chip("", view.kind) : null,
      view.height ? text(blocks(view.height), "quiet") : chip("wait", "no own peer in it"),
      view.organizations.length ? text(view.organizations.join(", "), "quiet") : null),
    view.missingPeers.length ? el("p", "text waiting", `not joined: ${view.missingPeers.join(", ")}`) : null,
    view.error ? el("p", "text error", view.error) : null,
    chaincodes.length ? el("div", "inner", chaincodes)
      : view.error || !view.height ? null : el("p", "quiet", "no chaincode is committed"));
}

function node(view, role) {
  const heights = (view.channels ?? []).map((joined) => `${joined.name}: ${joined.height ?? "?"}`);
  if (view.height) heights.push(`${blocks(view.height)} of the ops channel`);
  return el("div", "",
    el("div", "line", chip(view.up ? "good" : "bad", view.up ? "up" : "away"), text(view.name), text(role, "quiet")),
    el("p", "quiet text", view.address), el("p", "quiet text", heights.join(" · ")),
    view.error ? el("p", "text error", view.error) : null);
}

function draw() {
  const { network, components, holds, checkpoints, replica, bootstrap } = status;
  document.title = `${shown(status.organization)} · OpsSC agent`;
  byId("organization").textContent = shown(status.organization);
  byId("about").textContent = shown(`agent ${status.version} on ${status.opsChannel}, up for ${lasted(status.startedMs, status.nowMs)}`);
  const paused = holds.holds.length || holds.trouble;
  const [classes, words] = !status.healthy ? ["bad", "not healthy"] : status.standby ? ["wait", "standing by"]
    : paused ? ["wait", "paused"] : components.some((part) => !part.ready) ? ["wait", "needs attention"] : ["good", "healthy"];
  byId("state").className = `badge ${classes}`;
  byId("state").textContent = words;
  const holder = replica.leads || !replica.holder ? "" : `${replica.holder} leads`;
  byId("parts").replaceChildren(
    el("li", "", chip(replica.leads ? "good" : "wait", replica.leads ? "leads" : "stands by"),
      holder || replica.trouble ? text([holder, replica.trouble].filter(Boolean).join(", "), "quiet") : null),
    ...components.map((part) => el("li", "", chip(part.ready ? (part.detail ? "wait" : "good") : "bad", part.name),
      part.detail ? text(part.detail, "quiet") : null)),
    ...checkpoints.map((at) => el("li", "", chip("", `${at.contract} at block ${at.block}`),
      at.lag ? text(`${at.lag} behind`, "quiet") : null)));
  byId("holds").replaceChildren(...holds.holds.map((hold) => {
    const scope = [hold.channel, hold.chaincode].filter(Boolean).join(" / ") || "everything";
    const button = el("button", "", "Resume");
    button.addEventListener("click", () => change("resume", { channel: hold.channel, chaincode: hold.chaincode }));
    return el("li", "", chip("wait", scope), text([hold.reason, ago(hold.since_ms)].filter(Boolean).join(", "), "quiet"), button);
  }), ...(holds.trouble ? [el("li", "", chip("bad", "everything is held"), text(holds.trouble, "error"))] : []));
  if (!network) {
    fill("channels", [], "The network was not looked at yet.");
    fill("nodes", [], "The network was not looked at yet.");
    return;
  }
  fill("channels", network.channels.map(channel), "No channels.");
  const certificates = network.certificates.map((certificate) => el("div", "",
    el("div", "line", chip(certificate.daysLeft < 0 ? "bad" : certificate.daysLeft < 30 ? "wait" : "good",
      certificate.daysLeft < 0 ? "expired" : `${certificate.daysLeft} days`), text(`certificate: ${certificate.what}`)),
    el("p", "quiet text", certificate.subject)));
  byId("nodes").replaceChildren(
    el("div", "grid", network.peers.map((peer) => node(peer, "peer")),
      network.orderers.map((orderer) => node(orderer, "orderer")), certificates),
    ...bootstrap.missing.map((what) => el("p", "text waiting", `missing: ${what}`)),
    ...bootstrap.notes.map((note) => el("p", "text quiet", note)),
    ...network.remarks.map((remark) => el("p", "text waiting", remark)));
  byId("updated").textContent = `The network was looked at ${ago(network.takenMs)}.`;
}

function proposal(view) {
  const about = view.chaincode
    ? `${view.chaincode} · sequence ${view.sequence} on ${view.channel} · ${view.packageType} from ${view.repository} at ${view.commit}`
    : `${view.action} of ${view.channel}${view.description ? ` · ${view.description}` : ""}`;
  const words = Object.entries(view.said ?? {}).map(([what, by]) => el("div", "approvals", text(what, "quiet"),
    Object.entries(by).map(([organization, said]) => chip(kind(said), `${organization}: ${said}`))));
  const signed = view.signed?.length
    ? el("div", "approvals", text("signed", "quiet"), view.signed.map((organization) => chip("good", organization))) : null;
  return el("div", "item", el("div", "line", chip(kind(view.status), view.status), el("h3", "grow text", view.id),
    text(`by ${view.creator}`, "quiet")), el("p", "quiet text", about), ...words, signed);
}

async function refreshProposals() {
  try {
    const { chaincode, channel: channels, more } = await (await ask("api/v1/proposals")).json();
    const items = [...chaincode, ...channels].map(proposal);
    if (more) items.push(el("p", "quiet", `${more} more are not shown`));
    byId("proposals").className = "";
    fill("proposals", items, "There are no proposals.");
  } catch (error) {
    if (error instanceof Denied) throw error;
    fill("proposals", [el("p", "text error", error.message)], "");
  }
}

async function change(what, body) {
  try {
    await ask(`api/v1/${what}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    await refresh();
  } catch (error) {
    trouble(error);
  }
}

function trouble(error) {
  const denied = error instanceof Denied;
  byId("access").hidden = !denied;
  byId("notice").hidden = denied;
  if (denied) {
    byId("about").textContent = token ? "this token is not the agent's" : "";
    byId("state").textContent = "locked";
    byId("main").hidden = true;
  } else {
    byId("notice").textContent = shown(error instanceof TypeError ? "The agent does not answer; trying again." : error.message);
  }
}

async function refresh() {
  status = await (await ask("api/v1/status")).json();
  clock = status.nowMs - Date.now();
  byId("notice").hidden = true;
  byId("access").hidden = true;
  byId("main").hidden = false;
  draw();
}

async function refreshTasks() {
  const { tasks: all } = await (await ask("api/v1/tasks?limit=300")).json();
  tasks.clear();
  for (const record of all) tasks.set(`${record.task} ${record.proposal}`, record);
  drawTasks();
}

// Server-sent events, read by hand: what browsers have for it cannot show a token.
async function follow() {
  const answer = await ask("api/v1/tasks/live");
  await refreshTasks();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const field = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join("\n");
      if (field("event") === "task") {
        const record = JSON.parse(field("data"));
        tasks.set(`${record.task} ${record.proposal}`, record);
      } else if (field("event") === "lagged") {
        await refreshTasks();
      }
    }
    drawTasks();
  }
}

const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function repeat(work, ms) {
  for (;;) {
    try {
      if (!document.hidden) await work();
    } catch (error) {
      trouble(error);
    }
    await rest(ms);
  }
}

byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  sessionStorage.setItem("token", token);
  refresh().then(refreshTasks).then(refreshProposals).catch(trouble);
});
byId("pause").addEventListener("submit", (event) => {
  event.preventDefault();
  const value = (id) => byId(id).value.trim() || undefined;
  change("pause", { channel: value("p-channel"), chaincode: value("p-chaincode"), reason: value("p-reason") });
});
repeat(refresh, 5000);
repeat(follow, 3000);
repeat(refreshProposals, 15000);
