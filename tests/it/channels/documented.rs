//! The code that the integrator's guide shows to receivers is run on a real webhook of ours.

use std::process::{Command, Stdio};

use super::webhook::{alert, channel, secret};
use super::*;
use crate::not_run::not_run;
use crate::repository::page;
use crate::servers::http::{Behaviour, Receiver};

/// The block of the guide in `language` that has `needle`.
fn code(language: &str, needle: &str) -> String {
    let guide = page("docs/guide/integrator.md");
    let opening = format!("```{language}\n");
    let blocks = guide.split(&opening).skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).find(|block| block.contains(needle)).expect("the guide shows it")
}

/// What `interpreter` prints of `script` when it gets `input`; `None` after saying that it is not there.
fn printed(interpreter: &str, script: &str, input: &str) -> Option<String> {
    let mut command = Command::new(interpreter);
    command.args([if interpreter == "node" { "-e" } else { "-c" }, script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}");
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[tokio::test]
async fn receivers_that_copy_the_guide_accept_our_webhooks_and_no_others() {
    let receiver = Receiver::start(Behaviour::status(200)).await;
    let dispatch = alert(1);
    channel(&receiver, "").deliver(&dispatch, &Intent::durable()).await;
    let webhook = receiver.received().remove(0);
    let header = |name: &str| webhook.headers[name].to_str().unwrap();
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<_, _> = names.into_iter().map(|n| (n.to_owned(), header(n).into())).collect();
    let body = String::from_utf8(webhook.body.to_vec()).unwrap();
    let now = dispatch.now.as_micros() / 1_000_000;
    let case = |body: &str, now: i64| json!({ "secret": secret(), "headers": headers, "body": body, "now": now });
    let cases = [case(&body, now), case(&body.replace("gold", "lead"), now), case(&body, now + 3_600)];
    let input = serde_json::Value::from(cases.to_vec()).to_string();
    let python = format!(
        "{}\nimport json, sys\nprint([verify(c['secret'], c['headers'], c['body'].encode(), c['now']) for c in \
         json.load(sys.stdin)])",
        code("python", "def verify")
    );
    let javascript = format!(
        "{}\nconst cases = JSON.parse(require('fs').readFileSync(0));\nconsole.log(JSON.stringify(cases.map((c) => \
         verify(c.secret, c.headers, Buffer.from(c.body), c.now))));",
        code("js", "function verify")
    );
    for (interpreter, script, expected) in
        [("python3", python, "[True, False, False]"), ("node", javascript, "[true,false,false]")]
    {
        match printed(interpreter, &script, &input) {
            Some(answer) => assert_eq!(answer, expected, "{interpreter}"),
            None => not_run("the receivers of the integrator's guide", &format!("{interpreter} is not here")),
        }
    }
}
