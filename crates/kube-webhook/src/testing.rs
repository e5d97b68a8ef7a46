//! The API server's side of webhooks, for tests: it sends reviews as kube-apiserver does, and judges
//! the answers by kube-apiserver's own checks, with its error texts. (Feature `testing`.)
//!
//! No cluster is needed: [`ApiServer::of`] calls a router in the same process, and
//! [`ApiServer::at`] a server over TLS, be it written with this crate or not. What is checked here is
//! what `k8s.io/apiserver` and `k8s.io/apiextensions-apiserver` check before they use an answer, so
//! that an answer that passes is one that a cluster takes.
//!
//! ```
//! use kube_webhook::testing::{ApiServer, Review};
//! # use kube_webhook::{Fault, Validation, Webhooks, admission::*};
//! # use k8s_openapi::api::core::v1::ConfigMap;
//! # struct Guard;
//! # impl ValidationWebhook<ConfigMap> for Guard { type Operations = (Create,); }
//! # impl ValidateCreate<ConfigMap> for Guard {
//! #     async fn create(&self, _: &ConfigMap, cx: &AdmissionContext<'_>) -> Result<ValidationResult, Fault> {
//! #         Ok(if cx.user().is_in("guests") {
//! #             ValidationResult::fail("guests may not").with_code(403)
//! #         } else {
//! #             ValidationResult::success()
//! #         })
//! #     }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registered = Webhooks::new("guard")
//!     .domain("guard.example.com")
//!     .add_webhook(Validation::new(Guard))
//!     .build()?;
//! let api_server = ApiServer::of(registered.router());
//!
//! let review = Review::create(&ConfigMap::default()).user("eve", &["guests"]);
//! let verdict = api_server.validate("/validate/configmap", &review).await?;
//! assert!(!verdict.is_allowed());
//! assert_eq!(
//!     verdict.refusal("guard.example.com").unwrap().message,
//!     r#"admission webhook "guard.example.com" denied the request: guests may not"#,
//! );
//! # Ok(())
//! # }
//! ```

mod api_server;
mod check;
mod error;
mod properties;
mod review;
mod transport;

pub use api_server::ApiServer;
pub use check::{Refusal, Verdict, check_conversion, check_mutation, check_validation};
pub use error::{CallError, PropertyError};
pub use properties::{assert_idempotent, assert_round_trip, check_idempotent, check_round_trip};
pub use review::{Review, ReviewVersion};
