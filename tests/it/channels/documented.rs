//! The code that the integrator's guide shows to receivers is run on a real webhook of ours.

use super::webhook::{alert, channel, secret};
use super::*;
use crate::documented_code::{code, printed};
use crate::servers::http::{Behaviour, Receiver};

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
        if let Some(answer) = printed(interpreter, &script, &input) {
            assert_eq!(answer, expected, "{interpreter}");
        }
    }
}
