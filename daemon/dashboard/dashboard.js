// The dashboard: asks /api/v1/ every two seconds and redraws what changed. All data become text nodes.
"use strict";

const POLL_MS = 2000, WINDOWS = 60, LABEL_PANES = 120, VERSIONS = 12, INCIDENTS = 8, JOBS = 200, JOBS_SHOWN = 8;

// --- building blocks ---------------------------------------------------------------------------------------------

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}

const UNDEFINED = "–";
const isNumber = value => typeof value === "number" && isFinite(value);
const count = value => isNumber(value) ? value.toLocaleString("en-US") : UNDEFINED;
const ratio = (value, digits = 4) => isNumber(value) ? value.toFixed(digits) : UNDEFINED;
const time = value => typeof value === "string" ? value.slice(0, 19).replace("T", " ") : UNDEFINED;
const orUndefined = value => value === null || value === undefined || value === "" ? UNDEFINED : String(value);

// columns: [[header, row => text or node, "number" | ""], …]
function table(caption, columns, rows) {
  const head = element("tr", {}, ...columns.map(([header, , kind]) => element("th", {scope: "col", class: kind}, header)));
  const body = rows.map(row => element("tr", {class: row.highlight ? "highlight" : null},
    ...columns.map(([, cell, kind]) => element("td", {class: kind}, cell(row)))));
  return element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
    element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body)));
}

// Replaces the children only when the data changed: a selection or an open <details> survives the polls.
const drawn = new Map();
function redraw(id, data, make) {
  const text = JSON.stringify(data);
  const target = document.getElementById(id);
  if (!target || (drawn.get(id) === text && target.hasChildNodes())) return;
  const open = new Set([...target.querySelectorAll("details[open]")].map(node => node.id));
  drawn.set(id, text);
  target.replaceChildren(...[make(data)].flat().filter(Boolean));
  for (const node of target.querySelectorAll("details")) if (open.has(node.id)) node.open = true;
}

// --- incidents ---------------------------------------------------------------------------------------------------

function causeText(cause) {
  if (typeof cause === "string") return cause;
  if (typeof cause.text === "string") return cause.text;
  if (typeof cause.metric === "string") {
    const interval = (value, low, high) => `${ratio(cause[value], 3)} [${ratio(cause[low], 3)}, ${ratio(cause[high], 3)}]`;
    return `${cause.metric} of ${cause.attribute} is ${interval("value", "low", "high")}: ` +
      `rate of ${cause.group} ${interval("rate_group", "rate_group_low", "rate_group_high")} (n = ${count(cause.n_group)}) ` +
      `against ${orUndefined(cause.reference_group)} ` +
      `${interval("rate_reference", "rate_reference_low", "rate_reference_high")} (n = ${count(cause.n_reference)})`;
  }
  return `${orUndefined(cause.feature)}: ${orUndefined(cause.test)}, effect ${ratio(cause.effect, 3)}, adjusted p ` +
    `${isNumber(cause.p_adjusted) ? (cause.p_adjusted > 0 ? cause.p_adjusted.toPrecision(3) : "below 1e-300") : UNDEFINED} ` +
    `(n = ${count(cause.n_reference)} reference, ${count(cause.n_window)} window)`;
}

const sliceList = slices => slices.length
  ? element("ol", {class: "causes"}, ...slices.map(slice => element("li", {}, orUndefined(slice.text)))) : null;

// Stages of chains: retrained, hardened, compressed, attacked, before the gate.
const stageTable = stages => table("Stages of chains", [
  ["Chain", stage => orUndefined(stage.first_job), ""],
  ["Stage", stage => orUndefined(stage.stage), ""],
  ["Outcome", stage => element("span", {class: `badge ${stage.outcome === "taken" || stage.outcome === "measured" ? "" : "bad"}`},
    orUndefined(stage.outcome)), ""],
  ["Version", stage => orUndefined(stage.version), "number"],
  ["Accuracy", stage => ratio(stage.accuracy, 3), "number"],
  ["Under attack", stage => ratio(stage.robust_accuracy, 3), "number"],
  ["Bytes", stage => count(stage.bytes), "number"],
  ["Row (µs, median)", stage => ratio(stage.latency_p50_us, 1), "number"],
  ["Held-out rows", stage => count(stage.n), "number"],
], stages);

function incident(item) {
  const stages = (item.body && Array.isArray(item.body.stages) ? item.body.stages : []).slice(-12);
  const notes = (item.body && Array.isArray(item.body.notes) ? item.body.notes : []).slice(-6);
  const causes = (item.body && Array.isArray(item.body.causes) ? item.body.causes : []).slice(0, 5);
  const slices = (item.body && Array.isArray(item.body.slices) ? item.body.slices : []).slice(0, 5);
  return element("details", {id: `incident-${item.id}`, class: `incident ${item.state}`, open: item.state === "open"},
    element("summary", {}, element("span", {class: `badge ${item.state === "open" ? "bad" : ""}`}, item.state), " ",
      element("strong", {}, `${orUndefined(item.kind)} · ${orUndefined(item.model)}`), " ",
      element("span", {}, orUndefined(item.summary)), " ",
      element("span", {class: "quiet"}, `${item.id}, since ${time(item.opened_at)} (event time)`)),
    causes.length ? element("ol", {class: "causes"}, ...causes.map(cause => element("li", {}, causeText(cause))))
      : element("p", {class: "quiet"}, "no causes are recorded"),
    slices.length ? element("p", {class: "quiet"}, "Worst slices:") : null,
    sliceList(slices),
    stages.length ? stageTable(stages) : null,
    notes.length ? element("p", {class: "quiet"}, "What was done:") : null,
    notes.length ? element("ul", {class: "causes"}, ...notes.map(note => element("li", {}, String(note)))) : null);
}

// --- jobs --------------------------------------------------------------------------------------------------------

function progress(job) {
  const state = job.progress || {};
  if (job.state !== "running" || !isNumber(state.fraction)) return orUndefined(state.stage);
  const percent = Math.round(state.fraction * 100);
  const epoch = isNumber(state.epoch) ? `, epoch ${state.epoch}${isNumber(state.epochs) ? ` of ${state.epochs}` : ""}` : "";
  return element("span", {class: "progress"},
    element("progress", {max: "1", value: String(state.fraction), "aria-label": `job ${job.id}`}, `${percent} %`),
    ` ${percent} % ${state.stage || ""}${epoch}`);
}

const jobTable = (caption, jobs) => table(caption, [
  ["Job", job => job.id, ""],
  ["Kind", job => orUndefined(job.kind), ""],
  ["State", job => element("span", {class: `badge ${job.state === "failed" ? "bad" : ""}`}, orUndefined(job.state)), ""],
  ["Progress", progress, ""],
  ["Rows", job => count(job.result && job.result.rows), "number"],
  ["Gain (interval)", job => job.result && job.result.comparison
    ? `${ratio(job.result.comparison.gain)} [${ratio(job.result.comparison.low)}, ${ratio(job.result.comparison.high)}], ` +
      `n = ${count(job.result.comparison.n)}` : UNDEFINED, ""],
  ["Incident", job => orUndefined(job.incident), ""],
  ["Error", job => job.error || "", ""],
], jobs);

// --- one model ---------------------------------------------------------------------------------------------------

function figures(model) {
  const performance = (model.last_performance && model.last_performance.performance) || {};
  const lag = (model.shards || []).map(shard => shard.lag_records).filter(isNumber);
  const pairs = [
    ["Champion", model.champion === null ? UNDEFINED : `version ${model.champion}`],
    ["Versions", count(model.versions)],
    ["Accuracy", ratio(performance.accuracy), `n = ${count(performance.n)}`],
    ["Windows decided", count(model.progress && model.progress.windows)],
    ["Shards", count((model.shards || []).length)],
    ["Lag (records)", lag.length ? count(lag.reduce((a, b) => a + b, 0)) : UNDEFINED],
    ["Open incidents", count(model.incidents_open)],
    ["Open jobs", count(model.jobs_open)],
  ];
  return element("dl", {class: "figures"}, ...pairs.map(([name, value, remark]) =>
    element("div", {}, element("dt", {}, name),
      element("dd", {}, value, remark ? element("span", {class: "quiet"}, ` ${remark}`) : null))));
}

const quiet = text => element("p", {class: "quiet"}, text);

function evidenceChart(title, unit, verdicts, alarm) {
  if (!verdicts.some(v => isNumber(v.evidence))) return quiet("nothing is decided yet");
  const last = verdicts[verdicts.length - 1];
  const bounds = verdicts.map(v => v.evidence_bound).filter(isNumber), bound = bounds.length ? bounds[bounds.length - 1] : null;
  return charts({
    title, description: `The newest is ${ratio(last.evidence, 2)}` +
      (bound === null ? "" : `, the alarm budget's line is at ${bound.toFixed(2)}`),
    points: verdicts.map(v => ({x: v.number, y: v.evidence, alarm: alarm(v),
      text: `${unit} ${v.number}, ${time(v.event_time)}: evidence ${ratio(v.evidence, 2)}${alarm(v) ? ", alarm" : ""}`})),
    bound, boundText: "alarm budget", range: null,
  });
}

function accuracyChart(performance) {
  const labelled = performance.filter(w => w.performance && isNumber(w.performance.accuracy));
  if (!labelled.length) return quiet("no window has labels yet");
  const last = labelled[labelled.length - 1].performance;
  return charts({
    title: "Accuracy by window of labelled rows",
    description: `With its interval; the newest is ${ratio(last.accuracy)} of ${count(last.n)} labelled rows`,
    points: labelled.map(w => ({x: w.number, y: w.performance.accuracy, low: w.performance.accuracy_low,
      high: w.performance.accuracy_high, alarm: false,
      text: `window ${w.number}, ${time(w.event_time)}: accuracy ${ratio(w.performance.accuracy)}, ` +
        `n = ${count(w.performance.n)}`})),
    bound: null, range: [0, 1], zoom: true,
  });
}

const figure = (caption, chart) => element("figure", {}, element("figcaption", {}, caption), chart);

function biasTable(windows) {
  const last = [...windows].reverse().find(w => Array.isArray(w.bias_verdicts) && w.bias_verdicts.length);
  if (!last) return null;
  return table(`Fairness, window ${last.number}`, [
    ["Metric", row => orUndefined(row.metric), ""],
    ["Group", row => `${row.attribute} = ${row.group}`, ""],
    ["Against", row => orUndefined(row.reference_group), ""],
    ["Value (interval)", row => row.undefined ? row.undefined
      : `${ratio(row.value, 3)} [${ratio(row.low, 3)}, ${ratio(row.high, 3)}]`, ""],
    ["Rates", row => `${ratio(row.rate_group, 3)} (n = ${count(row.n_group)}) / ` +
      `${ratio(row.rate_reference, 3)} (n = ${count(row.n_reference)})`, ""],
    ["", row => row.breach ? element("span", {class: "badge bad"}, "breach") : "", ""],
  ], last.bias_verdicts.slice(0, 12));
}

function errorSlices(windows) {
  const last = [...windows].reverse().find(w => Array.isArray(w.slices) && w.slices.length);
  if (!last) return null;
  return element("div", {}, element("h4", {}, `Slices with the most errors, window ${last.number}`), sliceList(last.slices));
}

const versionTable = versions => table("Versions", [
  ["Version", row => String(row.version), "number"],
  ["", row => row.champion ? element("span", {class: "badge good"}, "champion")
    : (row.aliases || []).map(alias => `@${alias}`).join(" "), ""],
  ["Kind", row => orUndefined(row.kind), ""],
  ["Parent", row => orUndefined(row.parent), "number"],
  ["Accuracy", row => ratio(((row.metrics || {}).challenger || (row.metrics || {}).reference || {}).accuracy), "number"],
  ["Rows", row => count(((row.metrics || {}).challenger || (row.metrics || {}).reference || {}).n), "number"],
  ["Incident", row => orUndefined(row.incident), ""],
  ["Created (UTC)", row => time(row.created_at), ""],
], versions.map(row => ({...row, highlight: row.champion})));

function model(data) {
  const {model: item, windows, performance, labels, versions, incidents, jobs} = data;
  // the pool is scored on every pane: only what a person asks about is listed
  const latest = jobs.filter(job => job.kind !== "score" || job.state === "failed").slice(0, JOBS_SHOWN);
  const closed = incidents.filter(entry => entry.state !== "open");
  return [
    element("h3", {}, item.name, " ", element("span", {class: "quiet"},
      `${orUndefined(item.task)}, label ${orUndefined(item.label)}, ${count(item.features)} features`)),
    figures(item),
    element("div", {class: "charts"},
      figure("Drift of features and scores: ln(1/p) by window",
        evidenceChart("Evidence of drift by window", "window", windows, v => v.drift)),
      figure("Rise of the error: likelihood ratio by label pane",
        evidenceChart("Evidence of a rise of the error by label pane", "label pane", labels, v => v.alarm === true)),
      figure("Accuracy with its interval, by window of labelled rows", accuracyChart(performance))),
    biasTable(performance),
    errorSlices(performance),
    versions.length ? versionTable(versions) : null,
    latest.length ? jobTable("Latest trainings", latest) : null,
    closed.length ? element("h4", {}, "Closed incidents") : null,
    ...closed.map(incident),
  ];
}

// --- polling -----------------------------------------------------------------------------------------------------

async function get(path) {
  const response = await fetch(path, {cache: "no-store", credentials: "omit"});
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `${path}: status ${response.status}`);
  return body;
}

function showModels(models) {
  const target = document.getElementById("models");
  const wanted = models.map(item => `model-${item.name}`);
  if (wanted.join("\n") === [...target.children].map(node => node.id).join("\n") && wanted.length) return;
  drawn.clear();
  target.replaceChildren(...(models.length ? wanted.map(id => element("article", {id}))
    : [element("p", {class: "quiet"}, "no models yet: kedge model add registers one")]));
}

async function update() {
  const status = await get("/api/v1/status");
  const ready = document.getElementById("ready");
  ready.textContent = status.ready ? "ready" : "not ready";
  ready.className = status.ready ? "badge good" : "badge bad";
  const leader = status.leader && status.leader.owner ? ` · leader ${status.leader.owner}` : "";
  document.getElementById("facts").textContent = `version ${status.version} · ${status.backend}${leader}`;
  const trouble = document.getElementById("trouble");
  trouble.hidden = status.ready;
  trouble.textContent = status.ready ? "" : status.why_not_ready;
  redraw("incidents", status.incidents, list => list.length ? list.map(incident)
    : element("p", {class: "quiet"}, "none: the models are where they should be"));
  redraw("jobs", status.jobs, list => list.length ? jobTable("Queued and running", list)
    : element("p", {class: "quiet"}, "none"));
  showModels(status.models);
  await Promise.all(status.models.map(async item => {
    const name = encodeURIComponent(item.name);
    const verdicts = (kind, limit) => get(`/api/v1/windows?model=${name}&kind=${kind}&limit=${limit}`);
    const [windows, performance, labels, versions, incidents, jobs] = await Promise.all([
      verdicts("window", WINDOWS), verdicts("performance", WINDOWS), verdicts("label", LABEL_PANES),
      get(`/api/v1/versions?model=${name}&limit=${VERSIONS}`),
      get(`/api/v1/incidents?model=${name}&limit=${INCIDENTS}`), get(`/api/v1/jobs?model=${name}&limit=${JOBS}`)]);
    redraw(`model-${item.name}`, {model: item, windows, performance, labels, versions, incidents, jobs}, model);
  }));
  document.getElementById("updated").textContent = `updated ${new Date().toLocaleTimeString()}`;
}

async function poll() {
  try {
    await update();
  } catch (error) {
    const ready = document.getElementById("ready"), trouble = document.getElementById("trouble");
    ready.textContent = "no answer";
    ready.className = "badge bad";
    trouble.hidden = false;
    trouble.textContent = error.message;
  }
  setTimeout(poll, POLL_MS);
}
poll();
