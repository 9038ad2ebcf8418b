//! Owns the extension that keeps a schema from running anything: what is left of a request is the judgement on its
//! document. It must never stand in the schema that serves: any extension makes every field dearer.

use std::sync::Arc;

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute};
use async_graphql::{Response, Value};

/// Answers a document that is good with nothing.
#[derive(Debug, Clone, Copy)]
pub struct Judge;

impl ExtensionFactory for Judge {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Judge)
    }
}

#[async_trait]
impl Extension for Judge {
    async fn execute(&self, _: &ExtensionContext<'_>, _: Option<&str>, _: NextExecute<'_>) -> Response {
        Response::new(Value::Null)
    }
}
