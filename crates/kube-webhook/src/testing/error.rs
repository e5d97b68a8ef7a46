//! Why a call failed, and which properties don't hold. Made throughout `testing`.

use serde_json::Value;

/// Why the API server would take a call for failed.
///
/// The texts are those that follow `failed calling webhook "NAME": ` or `conversion webhook for ...
/// failed: ` in its answers to users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The webhook could not be reached, or the connection broke.
    #[error("failed to call webhook: {message}")]
    Transport {
        /// What went wrong.
        message: String,
    },
    /// No answer by the deadline.
    #[error("failed to call webhook: context deadline exceeded")]
    Deadline,
    /// An answer other than 200 to 206.
    #[error("failed to call webhook: {message}")]
    Status {
        /// The HTTP status code.
        code: u16,
        /// The message of the `metav1.Status` in the body, or what client-go says in its place.
        message: String,
    },
    /// An answer without a body.
    #[error(
        "failed to call webhook: 0-length response with status code: {code} and content type: \
         {content_type}"
    )]
    Empty {
        /// The HTTP status code.
        code: u16,
        /// The answer's media type.
        content_type: String,
    },
    /// A body that isn't a review of the version asked.
    #[error("failed to call webhook: {message}")]
    Undecodable {
        /// What the decoder says.
        message: String,
    },
    /// A patch that isn't one.
    #[error("received undecodable patch in webhook response: {message}")]
    UndecodablePatch {
        /// What the decoder says.
        message: String,
    },
    /// A review that the API server doesn't accept.
    #[error("{message}")]
    Refused {
        /// The API server's own text.
        message: String,
    },
    /// A patch that decodes but doesn't apply, or on an operation without an object. To the API
    /// server this is its own internal error: `failurePolicy: Ignore` doesn't help.
    #[error("{message}")]
    Inapplicable {
        /// What the patch does.
        message: String,
    },
    /// A conversion that the webhook itself says has failed.
    #[error("{message}")]
    Failed {
        /// The webhook's message.
        message: String,
    },
}

impl CallError {
    /// Whether `failurePolicy: Ignore` lets the request pass.
    #[must_use]
    pub fn is_ignorable(&self) -> bool {
        !matches!(self, Self::Inapplicable { .. })
    }

    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
        }
    }
}

/// A property that doesn't hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// A call failed.
    #[error("the call failed: {0}")]
    Call(#[from] CallError),
    /// The second run over the result of the first wants to change it again: on reinvocation, and on
    /// every update after, the object would change without anybody's doing.
    #[error("not idempotent: the second run patches its own result by {patch}")]
    NotIdempotent {
        /// The second run's patch.
        patch: Value,
    },
    /// The second run refuses the result of the first.
    #[error("the hook refuses its own result: {message}")]
    RefusesItself {
        /// The refusal.
        message: String,
    },
    /// An object that isn't what it was, there and back.
    #[error("lost on the way by {via}: {before} came back as {after}")]
    Lost {
        /// The version on the way.
        via: String,
        /// What was sent.
        before: Box<Value>,
        /// What came back.
        after: Box<Value>,
    },
}
