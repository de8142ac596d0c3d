//! A small shop in which every cart is a webhook, and a look into its files while the daemon runs or after it.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

/// A folder with a configuration, the templates `offer` and `receipt`, and these rules; webhooks go to `webhooks`.
pub(crate) fn install(dir: &Path, webhooks: SocketAddr, rules: &[(&str, &str)], store: &str) {
    crate::world::write_templates(dir);
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    for (name, text) in rules {
        std::fs::write(dir.join("rules").join(name), text).unwrap();
    }
    let config = format!(
        r#"
        [store]
        path = "data"
        {store}
        [http]
        listen = "127.0.0.1:0"
        public_url = "http://127.0.0.1:1"
        [contact]
        quiet_hours = false
        [webhook]
        kind = "http"
        [[webhook.endpoints]]
        name = "crm"
        url = "http://{webhooks}/hook"
        secret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "#
    );
    std::fs::write(dir.join("config.toml"), config).unwrap();
}

/// Every cart is a webhook.
pub(crate) const CARTS: (&str, &str) = (
    "carts.rhai",
    "const RULE = #{ trigger: on(\"Cart Abandoned\") };\n\
     fn when(customer) { true }\n\
     fn then(customer) { webhook(\"crm\", #{ n_orders: customer.n_orders }); }\n",
);

/// One of them, under this message id.
pub(crate) fn cart(message: &str) -> Value {
    serde_json::json!({ "type": "track", "userId": "ada", "event": "Cart Abandoned", "messageId": message })
}

/// The states of all deliveries in the store below `data`, in the order of their decisions.
pub(crate) async fn states(data: &Path) -> Vec<String> {
    let store = look_into(&data.join("store.db")).await;
    let states = sqlx::query_scalar("SELECT state FROM deliveries ORDER BY decided_at, id").fetch_all(&store).await;
    store.close().await;
    states.unwrap()
}

/// The message ids of all events in the store below `data`.
pub(crate) async fn messages(data: &Path) -> Vec<String> {
    let store = look_into(&data.join("store.db")).await;
    let ids = sqlx::query_scalar("SELECT fact ->> 'message_id' FROM events ORDER BY position").fetch_all(&store).await;
    store.close().await;
    ids.unwrap()
}

/// One of the two files, to look at while the daemon runs or after it.
pub(crate) async fn look_into(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}
