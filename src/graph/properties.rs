//! What a model file says of itself in words: ONNX's `metadata_props`, keys and texts.
//!
//! Knows no key.

use super::{Graph, proto::StringStringEntryProto};

impl Graph {
    /// The text under `key`.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.properties().find(|(found, _)| *found == key).map(|(_, text)| text)
    }

    /// Every key with its text.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.header.metadata_props.iter().map(|entry| (entry.key(), entry.value()))
    }

    /// The model with `properties` for what it said under keys that begin with `prefix`.
    pub fn with_properties(mut self, prefix: &str, properties: Vec<(String, String)>) -> Self {
        let kept = &mut self.header.metadata_props;
        kept.retain(|entry| !entry.key().starts_with(prefix));
        kept.extend(properties.into_iter().map(|(key, value)| StringStringEntryProto { key: Some(key), value: Some(value) }));
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::{
        Graph,
        fixture::{classifier, graph},
    };

    #[test]
    fn properties_are_written_and_read() {
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let whole = graph(classifier()).expect("a valid graph");
        let foreign = whole.with_properties("graft.", vec![text("names", "{0: 'a'}"), text("graft.labels", "[]")]);
        let own = foreign.with_properties("graft.", vec![text("graft.version", "1")]);
        let read = Graph::parse(own.to_bytes()).expect("a valid model");
        let found = ["names", "graft.labels", "graft.version"].map(|key| read.property(key));
        assert_eq!(found, [Some("{0: 'a'}"), None, Some("1")]);
    }
}
