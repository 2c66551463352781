//! `wse pub`: over a WebSocket, or with a POST request.

use std::{
    io::{self, BufRead as _, Write as _},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use wse_client::{Client, Event, Outgoing, Payload};

use crate::{
    args::PubArgs,
    connect::{builder, ended, open, read_certificates},
    failure::Failure,
};

/// A topic of ours that nobody publishes to; see [`settled`].
const BARRIER: &str = "wse:pub:barrier";

pub(crate) async fn over_websocket(args: PubArgs) -> Result<(), Failure> {
    // Before dialling, so that a typing error is told at once.
    let one = (args.payload != "-").then(|| payload(&args.payload)).transpose()?;
    let (mut client, _flight) = open(builder(&args.connect)?, &args.connect).await?;
    match one {
        Some(payload) => publish(&mut client, &args, payload).await?,
        None => {
            let mut lines = lines_of_stdin();
            while let Some(line) = lines.recv().await {
                publish(&mut client, &args, payload(&line?)?).await?;
            }
        }
    }
    client.close().await;
    Ok(())
}

/// Reads on a thread of its own, so that Ctrl-C and the connection are heard while stdin is silent.
fn lines_of_stdin() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let wanted = !line.as_ref().is_ok_and(|line| line.trim().is_empty());
            if wanted && sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn publish(client: &mut Client, args: &PubArgs, payload: Payload) -> Result<(), Failure> {
    let id = client.send(Outgoing::new(&args.kind, payload).to_topic(&args.topic)).await?;
    settled(client, &id).await?;
    writeln!(io::stdout(), "{id}")?;
    Ok(())
}

/// Waits until the server has judged the message. A server answers in order and only refusals are answered, so the
/// answer to a request that changes nothing comes after the refusal, or there is none.
async fn settled(client: &mut Client, id: &str) -> Result<(), Failure> {
    if !client.unsubscribe(&[BARRIER]).await?.confirmed {
        eprintln!("the server does not confirm anything; the message was sent");
    }
    for event in client.try_next_batch(usize::MAX) {
        match event {
            Event::ServerError(error) if error.source.correlation_id() == Some(id) => {
                return Err(Failure::coded(error.code, error.message));
            }
            Event::Disconnected(_) => return Err(ended(client)),
            _ => {}
        }
    }
    Ok(())
}

fn payload(text: &str) -> Result<Payload, Failure> {
    Payload::from_json(text.to_owned()).map_err(|_| {
        Failure::coded("INVALID_REQUEST", format!("{text:?} is not JSON; a text needs quotes of its own: '\"text\"'"))
    })
}

pub(crate) fn over_http(args: &PubArgs) -> Result<(), Failure> {
    let url = publish_url(&args.connect.url)?;
    let agent = agent(args)?;
    if args.payload != "-" {
        return post(&agent, &url, args, &args.payload);
    }
    for line in io::stdin().lock().lines() {
        let line = line?;
        if !line.trim().is_empty() {
            post(&agent, &url, args, &line)?;
        }
    }
    Ok(())
}

/// `ws://host/wse?x` becomes `http://host/wse/publish`.
fn publish_url(url: &str) -> Result<String, Failure> {
    let refuse = || Failure::coded("INVALID_CONFIG", format!("{url:?} must start with ws:// or wss://"));
    let rest = url.strip_prefix("ws").filter(|rest| rest.starts_with("://") || rest.starts_with("s://"));
    let rest = rest.ok_or_else(refuse)?.split(['?', '#']).next().unwrap_or_default();
    Ok(format!("http{}/publish", rest.trim_end_matches('/')))
}

fn agent(args: &PubArgs) -> Result<ureq::Agent, Failure> {
    let mut config =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).http_status_as_error(false);
    if let Some(path) = &args.connect.ca {
        let pem = read_certificates(path)?;
        let certificate = Certificate::from_pem(&pem)
            .map_err(|error| Failure::coded("INVALID_CONFIG", format!("{}: {error}", path.display())))?;
        let roots = RootCerts::Specific(Arc::new(vec![certificate]));
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    Ok(config.build().into())
}

fn post(agent: &ureq::Agent, url: &str, args: &PubArgs, text: &str) -> Result<(), Failure> {
    payload(text)?;
    let quoted = |text: &str| serde_json::to_string(text).map_err(io::Error::from);
    let body = format!(r#"{{"topic":{},"type":{},"payload":{text}}}"#, quoted(&args.topic)?, quoted(&args.kind)?);
    let mut request = agent.post(url).header("Content-Type", "application/json");
    if let Some(key) = &args.api_key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    let failed = |error: ureq::Error| {
        Failure::coded("CONNECT_FAILED", format!("{url}: {error}")).hinting(Some("is the server running there?"))
    };
    let mut response = request.send(body).map_err(failed)?;
    let answer = response.body_mut().read_to_string().map_err(failed)?;
    if !response.status().is_success() {
        return Err(refusal(response.status().as_u16(), &answer));
    }
    writeln!(io::stdout(), "{}", answer.trim_end())?;
    Ok(())
}

/// The server's own code where it names one, else what the status means.
fn refusal(status: u16, answer: &str) -> Failure {
    let body: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let named = |name: &str| {
        let inner = body.get("error").filter(|error| error.is_object()).unwrap_or(&body);
        inner.get(name).and_then(serde_json::Value::as_str).map(str::to_owned)
    };
    let code = named("code").unwrap_or_else(|| {
        match status {
            401 | 403 => "AUTH_FAILED",
            413 => "MESSAGE_TOO_LARGE",
            429 => "RATE_LIMITED",
            500.. => "SERVER_ERROR",
            _ => "INVALID_REQUEST",
        }
        .to_owned()
    });
    let hint = matches!(status, 401 | 403).then_some("give the server's API key with --api-key or WSE_API_KEY");
    let message = named("message").unwrap_or_else(|| answer.trim().to_owned());
    Failure::coded(code, format!("HTTP {status}: {message}")).hinting(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_publish_address_is_beside_the_websocket() {
        assert_eq!(publish_url("ws://a:5006/wse").unwrap(), "http://a:5006/wse/publish");
        assert_eq!(publish_url("wss://a/x/wse/?token=t").unwrap(), "https://a/x/wse/publish");
        assert!(publish_url("http://a").is_err());
    }
}
