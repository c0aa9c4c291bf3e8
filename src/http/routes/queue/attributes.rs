//! The attributes of a queue as the clients know them.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    http::wire::duration,
    queue::{Attributes, ConsumerState},
};

/// All attributes as the clients know them.
pub(super) fn attribute_texts(attributes: &Attributes) -> BTreeMap<String, String> {
    let most = attributes.max_length.unwrap_or(i64::MAX as u64);
    let fixed = [
        ("meta.backend", String::from("sqlite")),
        ("meta.name", attributes.key.to_string()),
        ("meta.state", String::from("Normal")),
        (
            "meta.maxPayloadBytes",
            attributes.max_payload_bytes.to_string(),
        ),
        // Clients read the names of the headers here and Python and Java use exactly these.
        (
            "meta.header.user",
            String::from("X-EAS-QueueService-Redis-Uid"),
        ),
        (
            "meta.header.group",
            String::from("X-EAS-QueueService-Redis-Gid"),
        ),
        (
            "meta.header.priority",
            String::from("X-EAS-QueueService-Redis-Priority"),
        ),
        ("stream.length", attributes.length.to_string()),
        ("stream.approxMaxLength", most.to_string()),
        ("stream.firstEntry", attributes.first.to_string()),
        ("stream.lastEntry", attributes.last.to_string()),
        (
            "consumers.stats.total",
            attributes.consumers.len().to_string(),
        ),
        (
            "consumers.status.total",
            attributes.consumers.len().to_string(),
        ),
    ];
    let mut texts: BTreeMap<String, String> = fixed
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for (at, consumer) in attributes.consumers.iter().enumerate() {
        texts.insert(format!("consumers.list.[{at}]"), consumer_text(consumer));
    }
    for (at, (name, index, pending, delivered, consumers)) in attributes.groups.iter().enumerate() {
        let text = format!(
            "Id: {name}, Index: {index}, Pending: {pending}, Delivered: {delivered}, \
             Consumers: {consumers}"
        );
        texts.insert(format!("groups.list.[{at}]"), text);
    }
    texts
}

fn consumer_text(consumer: &ConsumerState) -> String {
    let mut text = format!(
        "Id: {}.{}, Index: {}, Pending: {}, Status: {}, Idle: {}, Window: {}, Slots: {}, AutoCommit: {}",
        consumer.group,
        consumer.user,
        consumer.start,
        consumer.pending,
        consumer.status,
        duration::format_go(consumer.idle_ms),
        consumer.window,
        consumer.slots,
        consumer.auto_commit,
    );
    if !consumer.tags.is_empty() {
        let tags: Vec<String> = consumer
            .tags
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        // Writing to a string does not fail.
        let _ = write!(text, ", Tags: tags[{}]", tags.join(" "));
    }
    text
}
