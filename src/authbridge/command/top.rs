//! `authbridge top`: live requests, decisions and exchanges of a running sidecar, in a terminal.
//! It is an ordinary client of the statistics and session servers, without privileges of its own.

use clap::Args;
use countersign_core::text::Quoted;
use countersign_io::files::read_text;
use futures::StreamExt as _;
use reqwest::Client;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Number of latest events shown.
const SHOWN: usize = 15;
/// Longest event, in bytes.
const EVENT_BYTES: usize = 256 * 1024;
/// Longest time until a server answers.
const ANSWER: Duration = Duration::from_secs(5);

/// Flags of `authbridge top`: addresses of the servers to ask, and the number of looks.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// The statistics server.
    #[arg(long, default_value = "http://127.0.0.1:9093", value_name = "URL")]
    stats: String,
    /// The session server.
    #[arg(long, default_value = "http://127.0.0.1:9094", value_name = "URL")]
    sessions: String,
    /// A file with the token that both ask for, if they do.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Ends after so many looks instead of going on, and redraws nothing.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

/// Redraws until interrupted, or as often as `top` says.
pub(super) fn run(top: &Top) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown = match runtime {
        Ok(runtime) => runtime.block_on(show(top)),
        Err(error) => Err(error.to_string()),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // A write to a closed terminal fails, and there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "{problem}");
            ExitCode::FAILURE
        }
    }
}

async fn show(top: &Top) -> Result<(), String> {
    let token = match &top.token_file {
        None => None,
        Some(path) => Some(read_text(path, 4096).map_err(|error| error.to_string())?.trim().to_owned()),
    };
    let client = AdminClient::new(token)?;
    let mut events = client.events(&top.sessions).await?;
    let (mut last, mut looks) = (VecDeque::new(), 0_u64);
    let redraw = top.count.is_none() && std::io::stdout().is_terminal();
    loop {
        let deadline = tokio::time::sleep(Duration::from_secs(top.every));
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                () = &mut deadline => break,
                event = events.next() => {
                    let event = event.ok_or("the stream of events ended")?;
                    last.push_back(line(&event));
                    if last.len() > SHOWN {
                        last.pop_front();
                    }
                }
            }
        }
        let stats = client.get(&format!("{}/stats", top.stats)).await?;
        draw(&stats, &last, redraw).map_err(|error| error.to_string())?;
        looks = looks.saturating_add(1);
        if top.count.is_some_and(|count| looks >= count) {
            return Ok(());
        }
    }
}

/// HTTP client of the statistics and session servers.
struct AdminClient {
    client: Client,
    token: Option<String>,
}

impl AdminClient {
    fn new(token: Option<String>) -> Result<Self, String> {
        let fetcher = crate::auth::fetch_client("http://127.0.0.1")?;
        Ok(Self { client: fetcher.into_client(), token })
    }

    async fn request(&self, url: &str) -> Result<reqwest::Response, String> {
        let request = self.client.get(url);
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answered = tokio::time::timeout(ANSWER, request.timeout(Duration::from_hours(24)).send()).await;
        let response = answered.map_err(|_| format!("{} does not answer", Quoted(url)))?;
        let response = response.map_err(|error| format!("{}: {error}", Quoted(url)))?;
        response.error_for_status().map_err(|error| format!("{error}"))
    }

    async fn get(&self, url: &str) -> Result<Value, String> {
        let text = self.request(url).await?.text().await.map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", Quoted(url)))
    }

    /// Stream of events of the session server.
    async fn events(&self, sessions: &str) -> Result<impl futures::Stream<Item = Value> + Unpin, String> {
        let response = self.request(&format!("{sessions}/v1/events")).await?;
        let chunks = futures::stream::unfold((response, String::new()), async |(mut response, mut rest)| {
            loop {
                if let Some((event, after)) = rest.split_once("\n\n") {
                    let data = event.lines().find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
                    rest = after.to_owned();
                    match data.and_then(|data| serde_json::from_str::<Value>(&data).ok()) {
                        Some(value) => return Some((value, (response, rest))),
                        None => continue,
                    }
                }
                let chunk = response.chunk().await.ok().flatten()?;
                rest.push_str(&String::from_utf8_lossy(&chunk));
                if rest.len() > EVENT_BYTES {
                    return None;
                }
            }
        });
        Ok(Box::pin(chunks))
    }
}

/// Formats an event as one line. Text from requests is escaped, so that it cannot send control sequences to the terminal.
fn line(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let at = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let quoted = |value: &str| Quoted(value).to_string().trim_matches('"').to_owned();
    let verdict = match (text("phase"), event["statusCode"].as_u64()) {
        ("denied", _) => format!("DENIED {}", at("/error/code")),
        (phase, Some(status)) => format!("{phase} {status}"),
        (phase, None) => phase.to_owned(),
    };
    let call = ["a2a", "mcp", "inference"].iter().find_map(|kind| {
        let call = event.get(*kind)?;
        let what = call["method"].as_str().or_else(|| call["model"].as_str()).unwrap_or_default();
        Some(format!(" {kind}:{}{}", quoted(what), answer(call)))
    });
    let did = event["invocations"].as_array().and_then(|all| all.last()).map(|one| {
        format!(
            " [{} {}]",
            one["action"].as_str().unwrap_or_default(),
            one["reason"].as_str().unwrap_or_default()
        )
    });
    let who =
        event.pointer("/identity/subject").and_then(Value::as_str).map(|who| format!(" by {}", quoted(who)));
    let took = event["durationMs"].as_f64().map(|took| format!(" {took:.1} ms"));
    format!(
        "{} {:<8} {:<28} {} {}{}{}{}{}{}",
        text("at"),
        text("direction"),
        verdict,
        quoted(text("method")),
        quoted(text("host")),
        quoted(text("path")),
        call.unwrap_or_default(),
        did.unwrap_or_default(),
        who.unwrap_or_default(),
        took.unwrap_or_default(),
    )
}

/// Formats what an answer told of a call: the state of a task, a failure, the tokens of a model.
fn answer(call: &Value) -> String {
    let mut told = String::new();
    let mut add = |text: String| told = format!("{told} {text}");
    if let Some(state) = call["finalStatus"].as_str() {
        add(Quoted(state).to_string().trim_matches('"').to_owned());
    }
    if call["isError"] == true {
        add("failed".to_owned());
    }
    if let Some(code) = call.pointer("/error/code").and_then(Value::as_i64) {
        add(format!("error {code}"));
    }
    if let (Some(prompt), Some(completion)) =
        (call["promptTokens"].as_u64(), call["completionTokens"].as_u64())
    {
        add(format!("{prompt}+{completion} tokens"));
    }
    told
}

fn draw(stats: &Value, last: &VecDeque<String>, redraw: bool) -> std::io::Result<()> {
    let mut to = std::io::stdout().lock();
    if redraw {
        // Cursor home, then erase below (ECMA-48 CUP, ED).
        to.write_all(b"\x1b[H\x1b[J")?;
    }
    for group in [
        "inbound_approvals",
        "inbound_denials",
        "outbound_replace_tokens",
        "outbound_approvals",
        "outbound_denials",
        "tls",
    ] {
        let counts: Vec<String> = stats[group]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, count)| count.as_u64() != Some(0))
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        writeln!(to, "{group:<24} {}", if counts.is_empty() { "-".to_owned() } else { counts.join("  ") })?;
    }
    writeln!(to)?;
    for line in last {
        writeln!(to, "{line}")?;
    }
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_told_beside_its_call() {
        let told = |member: Value| line(&json!({ "phase": "response", "statusCode": 200, "a2a": member }));
        for (member, expected) in [
            (json!({ "method": "SendMessage" }), "a2a:SendMessage"),
            (json!({ "method": "a", "finalStatus": "completed" }), "a2a:a completed"),
            (json!({ "method": "a", "finalStatus": "\u{1b}[2J" }), "a2a:a \\u{1b}[2J"),
            (json!({ "method": "a", "isError": true }), "a2a:a failed"),
            (json!({ "method": "a", "isError": false, "error": { "code": -32001 } }), "a2a:a error -32001"),
            (json!({ "model": "m", "promptTokens": 3, "completionTokens": 4 }), "a2a:m 3+4 tokens"),
        ] {
            let line = told(member);
            assert!(line.trim_end().ends_with(expected), "{line:?} {expected:?}");
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_it_says() {
        let event = json!({
            "at": "2026-11-21T10:00:00Z", "direction": "inbound", "phase": "denied", "method": "GET", "host": "a\nb",
            "path": "/\u{1b}[2J", "statusCode": 401, "error": { "code": "auth.missing-token" },
            "identity": { "subject": "alice\u{202e}" }, "invocations": [{ "action": "deny", "reason": "x" }],
            "durationMs": 1.25,
        });
        let line = line(&event);
        assert!(line.contains("DENIED auth.missing-token") && line.contains("[deny x]"), "{line}");
        assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line}");
    }
}
