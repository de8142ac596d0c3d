mod http_server;
mod http_world;
mod tracking_api;
mod unsubscribe_page;
