//! The runner's own steps: what it does to servers and the network, and the facts it checks by itself.
use super::proxy::Way;
use super::run::Run;
use super::scenario::Step;
use super::values::{mismatch, short};
use super::wire::{Wire, json_of};
use data_encoding::BASE64;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Does one runner step.
pub fn run(run: &mut Run<'_>, name: &str, step: &Step, args: &Value) -> Result<(), String> {
    // Nothing will come of a liar's words; there is no need to wait long for it.
    let within = Duration::from_secs_f64(if run.is_liar { 0.3 } else { step.within.unwrap_or(10.0) });
    match name {
        "publish" => publish(run, args),
        "subscribe" => {
            let sid = run.wire()?.subscribe(text(args, "subject")?, args.get("queue").and_then(Value::as_str))?;
            run.subscriptions.insert(step.makes.clone().unwrap_or_default(), sid);
            Ok(())
        }
        "reply" => reply(run, step, args, within),
        "received" => received(run, step, args, within),
        "replied" => replied(run, step, args, within),
        "api" => api(run, step, args, within),
        "wire" => wire(run, args, within),
        "connections" => connections(run, args, within),
        "server" => server(run, text(args, "action")?),
        "proxy" => proxy(run, text(args, "action")?),
        "attach" => {
            let url = text(args, "url")?;
            let address = url.split("://").last().unwrap_or(url).trim_end_matches('/');
            run.wire = Some(Wire::connect(address, None)?);
            Ok(())
        }
        // A server that asks for credentials lets the runner, who has none, not in.
        "refused" => {
            let url = text(args, "url")?;
            match Wire::connect(url.split("://").last().unwrap_or(url), None) {
                Ok(_) => Err("the runner was let in without credentials".to_owned()),
                Err(problem) if problem.contains("Authorization Violation") => Ok(()),
                Err(problem) => Err(format!("the runner was not refused but: {problem}")),
            }
        }
        "file" => {
            let path = run.folder.join(text(args, "name")?);
            std::fs::write(&path, text(args, "content")?).map_err(|error| format!("{}: {error}", path.display()))
        }
        other => Err(format!("no runner step is called {other}")),
    }
}

fn text<'a>(args: &'a Value, name: &str) -> Result<&'a str, String> {
    args.get(name).and_then(Value::as_str).ok_or_else(|| format!("the step wants a text `{name}`"))
}

fn number(args: &Value, name: &str) -> Option<usize> {
    args.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok())
}

fn data(args: &Value) -> Result<Vec<u8>, String> {
    let text = args.get("data").and_then(Value::as_str).unwrap_or_default();
    BASE64.decode(text.as_bytes()).map_err(|error| error.to_string())
}

fn headers(args: &Value) -> Vec<(String, String)> {
    let pairs = args.get("headers").and_then(Value::as_array).cloned().unwrap_or_default();
    let side = |pair: &Value, at: usize| pair.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    pairs.iter().map(|pair| (side(pair, 0), side(pair, 1))).collect()
}

fn publish(run: &mut Run<'_>, args: &Value) -> Result<(), String> {
    let subject = text(args, "subject")?;
    let (headers, reply) = (headers(args), args.get("reply").and_then(Value::as_str));
    let wire = run.wire()?;
    match number(args, "count") {
        // Numbered payloads, so that order and losses show.
        Some(count) => {
            let (from, size) = (number(args, "from").unwrap_or(0), number(args, "size").unwrap_or(0));
            for at in from..from + count {
                wire.publish(subject, reply, &headers, format!("{at:<size$}").as_bytes())?;
            }
        }
        None => wire.publish(subject, reply, &headers, &data(args)?)?,
    }
    wire.flush()
}

fn sid(run: &Run<'_>, step: &Step) -> Result<u64, String> {
    let name = step.on.as_deref().unwrap_or_default();
    run.subscriptions.get(name).copied().ok_or_else(|| format!("the runner has no subscription {name:?}"))
}

fn reply(run: &mut Run<'_>, step: &Step, args: &Value, within: Duration) -> Result<(), String> {
    let (sid, count, body, headers) = (sid(run, step)?, number(args, "count").unwrap_or(1), data(args)?, headers(args));
    let echo = args.get("echo") == Some(&Value::Bool(true));
    let wire = run.wire()?;
    let found = wire.received(sid, count, within)?;
    if found.len() < count {
        return Err(format!("{} of {count} requests came", found.len()));
    }
    for request in found.iter().take(count) {
        let to = request.reply.as_deref().ok_or("a request without a reply subject")?;
        wire.publish(to, None, &headers, if echo { &request.data } else { &body })?;
    }
    wire.flush()
}

fn received(run: &mut Run<'_>, step: &Step, args: &Value, within: Duration) -> Result<(), String> {
    let sid = sid(run, step)?;
    let count = number(args, "count").unwrap_or(1);
    let most = number(args, "max").unwrap_or(count);
    let wire = run.wire()?;
    let found = wire.received(sid, count, within)?;
    // One more round trip: what the server still had to say comes before the PONG.
    wire.flush()?;
    let found = wire.received(sid, found.len() + 1, Duration::ZERO)?;
    if found.len() < count || found.len() > most {
        return Err(format!("the runner received {} messages, expected {count} to {most}", found.len()));
    }
    let Some(expected) = args.get("messages").and_then(Value::as_array) else { return Ok(()) };
    for (at, (wanted, message)) in expected.iter().zip(&found).enumerate() {
        let actual = serde_json::json!({
            "subject": message.subject, "reply": message.reply, "data": BASE64.encode(&message.data), "headers": message.headers,
        });
        if let Some(problem) = mismatch(wanted, Some(&actual), &format!("message {at}")) {
            return Err(format!("the runner received something else: {problem}"));
        }
    }
    Ok(())
}

fn replied(run: &mut Run<'_>, step: &Step, args: &Value, within: Duration) -> Result<(), String> {
    let (subject, body) = (text(args, "subject")?, data(args)?);
    let answer = run
        .wire()?
        .request(subject, &body, within)?
        .ok_or_else(|| format!("nobody answered the runner on {subject}"))?;
    let actual =
        serde_json::json!({"subject": answer.subject, "data": BASE64.encode(&answer.data), "headers": answer.headers});
    match step.ok.as_ref().map(|ok| run.fill(ok)).transpose()?.and_then(|ok| mismatch(&ok, Some(&actual), "reply")) {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// A JetStream API question by the runner itself, asked again until the answer fits or the time is up.
fn api(run: &mut Run<'_>, step: &Step, args: &Value, within: Duration) -> Result<(), String> {
    let subject = format!("$JS.API.{}", text(args, "subject")?);
    let request = args.get("request").map(Value::to_string).unwrap_or_default();
    let expected = run.fill(step.ok.as_ref().ok_or("an api step wants `ok`")?)?;
    let deadline = Instant::now() + within;
    loop {
        let answer = run
            .wire()?
            .request(&subject, request.as_bytes(), within)?
            .ok_or_else(|| format!("no answer to {subject}"))?;
        let answer = json_of(&answer)?;
        match mismatch(&expected, Some(&answer), "answer") {
            None => return Ok(()),
            Some(problem) if Instant::now() > deadline => {
                return Err(format!("{subject}: {problem}; the whole: {}", short(&answer)));
            }
            Some(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn wire(run: &mut Run<'_>, args: &Value, within: Duration) -> Result<(), String> {
    let way = if args.get("way").and_then(Value::as_str) == Some("down") { Way::Down } else { Way::Up };
    let needle = text(args, "contains")?;
    let most = number(args, "max");
    let least = number(args, "min").unwrap_or(if most.is_some() { 0 } else { 1 });
    let found = run.proxy()?.count(way, needle.as_bytes(), least, within);
    if found < least || most.is_some_and(|most| found > most) {
        return Err(format!("{needle:?} passed the proxy {found} times, expected at least {least}, at most {most:?}"));
    }
    Ok(())
}

fn connections(run: &mut Run<'_>, args: &Value, within: Duration) -> Result<(), String> {
    let least = number(args, "min").unwrap_or(1);
    let deadline = Instant::now() + within;
    while run.proxy()?.accepted() < least && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    let found = run.proxy()?.accepted();
    if found < least || number(args, "max").is_some_and(|most| found > most) {
        return Err(format!(
            "the proxy took {found} connections, expected at least {least}, at most {:?}",
            number(args, "max")
        ));
    }
    Ok(())
}

fn server(run: &mut Run<'_>, action: &str) -> Result<(), String> {
    let server = run.server.as_mut().ok_or("this scenario has no server process")?;
    match action {
        "kill" => server.stop(true)?,
        "stop" => server.stop(false)?,
        "pause" => server.signal("STOP")?,
        "resume" => server.signal("CONT")?,
        "lame_duck" => server.signal("USR2")?,
        "start" => {
            server.start_again()?;
            let port = server.port();
            run.proxy()?.point_to(port);
            run.connect_wire()?;
        }
        other => return Err(format!("no server action is called {other}")),
    }
    Ok(())
}

fn proxy(run: &mut Run<'_>, action: &str) -> Result<(), String> {
    let proxy = run.proxy()?;
    match action {
        "cut" => proxy.cut(),
        "refuse" => proxy.refuse(true),
        "accept" => proxy.refuse(false),
        "hold" => proxy.hold(true),
        "release" => proxy.hold(false),
        other => return Err(format!("no proxy action is called {other}")),
    }
    Ok(())
}
