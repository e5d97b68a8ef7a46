//! What a log says of reviews: which one, and how it went, but nothing of what its objects hold.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube_webhook::{
    Fault, Validation, Webhooks,
    admission::{AdmissionContext, Create, ValidateCreate, ValidationResult, ValidationWebhook},
};
use serde_json::{Value, json};
use tracing_subscriber::fmt::{MakeWriter, format::FmtSpan};

use crate::call::{post, review};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

struct NotEmpty;

impl ValidationWebhook<Secret> for NotEmpty {
    type Operations = (Create,);
}

impl ValidateCreate<Secret> for NotEmpty {
    async fn create(
        &self,
        secret: &Secret,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(if secret.data.is_none() {
            ValidationResult::fail("it is empty")
        } else {
            ValidationResult::success()
        })
    }
}

impl ValidationWebhook<ConfigMap> for NotEmpty {
    type Operations = (Create,);
}

impl ValidateCreate<ConfigMap> for NotEmpty {
    async fn create(
        &self,
        _: &ConfigMap,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn a_review_is_told_by_uid_kind_operation_and_outcome_and_no_content() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let router = Webhooks::new("logged")
        .domain("logged.example.com")
        .slow_review(Duration::ZERO)
        .add_webhook(Validation::<_, Secret>::new(NotEmpty))
        .add_webhook(Validation::<_, ConfigMap>::new(NotEmpty))
        .build()
        .unwrap()
        .router();
    let secret = |data: Value| {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}, "data": data,
        });
        review("CREATE", ["", "v1", "Secret"], &object, &Value::Null)
    };

    let denied = secret(Value::Null);
    post(&router, "/validate/secret", denied.to_string()).await;
    let text = log.text();
    let uid = denied["request"]["uid"].as_str().unwrap();
    for part in [
        uid,
        r#"kind="Secret""#,
        r#"operation="CREATE""#,
        r#"outcome="denied""#,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("review was slow"), "{text}");

    // Its decoding fails with a message that quotes it, for the user's eyes only.
    let malformed = secret(json!("hunter2")).to_string();
    let (status, answer) = post(&router, "/validate/secret", malformed).await;
    assert_eq!(status.as_u16(), 422);
    assert!(answer["message"].as_str().unwrap().contains("hunter2"));
    let fine = secret(json!({"password": "aHVudGVyMg=="})).to_string();
    post(&router, "/validate/secret", fine).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "hunter2"}});
    let panics = review("CREATE", ["", "v1", "ConfigMap"], &map, &Value::Null);
    post(&router, "/validate/configmap", panics.to_string()).await;

    let text = log.text();
    assert!(text.contains(r#"outcome="faulted""#), "{text}");
    assert!(text.contains("hook panicked"), "{text}");
    for content in ["hunter2", "aHVudGVyMg"] {
        assert!(!text.contains(content), "{text}");
    }
}
