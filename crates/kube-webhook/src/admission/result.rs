//! A hook's verdict. Made by callbacks, read by `handler`.

use std::collections::BTreeMap;

use crate::envelope::Cause;

/// The verdict of a validation, and of a mutation on delete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ValidationResult {
    pub(super) verdict: Verdict,
}

impl ValidationResult {
    /// Lets the request pass.
    pub fn success() -> Self {
        Self {
            verdict: Verdict::default(),
        }
    }

    /// Denies the request with code 400; the message should tell the user what to do.
    pub fn fail(message: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::denied(message),
        }
    }
}

/// The verdict of a mutation on create or update.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct MutationResult<K> {
    pub(super) verdict: Verdict,
    pub(super) object: Option<Box<K>>,
}

impl<K> MutationResult<K> {
    /// Lets the object pass as it is.
    pub fn no_changes() -> Self {
        Self {
            verdict: Verdict::default(),
            object: None,
        }
    }

    /// Lets the request pass with `object` in the place of the one that was sent.
    ///
    /// What leaves is the difference between the two as `K` sees them: fields that `K` doesn't know
    /// stay as they were sent, and without a difference there is no patch.
    pub fn modified(object: K) -> Self {
        Self {
            verdict: Verdict::default(),
            object: Some(Box::new(object)),
        }
    }

    /// Denies the request with code 400; the message should tell the user what to do.
    pub fn fail(message: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::denied(message),
            object: None,
        }
    }

    /// The object that [`modified`](Self::modified) was given.
    #[must_use]
    pub fn object(&self) -> Option<&K> {
        self.object.as_deref()
    }
}

/// What both results share; on a verdict that allows, what belongs to a denial has no effect.
macro_rules! decorations {
    ($([$($param:ident)?] $result:ty;)+) => {$(
        impl $(<$param>)? $result {
            /// Whether the request passes.
            #[must_use]
            pub fn is_allowed(&self) -> bool {
                self.verdict.denial.is_none()
            }

            /// The denial's message; `None` if the request passes.
            #[must_use]
            pub fn message(&self) -> Option<&str> {
                self.verdict.message()
            }

            /// The denial's code; `None` if the request passes.
            #[must_use]
            pub fn code(&self) -> Option<u16> {
                self.verdict.code()
            }

            /// The warnings so far.
            #[must_use]
            pub fn warnings(&self) -> &[String] {
                &self.verdict.warnings
            }

            /// The denial's HTTP status code instead of 400. The API server lifts codes below 400
            /// to 400. No effect on a verdict that allows.
            pub fn with_code(mut self, code: u16) -> Self {
                if let Some(denial) = &mut self.verdict.denial {
                    denial.code = code;
                }
                self
            }

            /// The denial's machine-readable reason, such as `Forbidden` or `Conflict`. No effect
            /// on a verdict that allows.
            pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
                if let Some(denial) = &mut self.verdict.denial {
                    denial.reason = Some(reason.into());
                }
                self
            }

            /// One field that is at fault, by its path: `spec.window.end`. Several may be named.
            /// For code 422, kubectl prints these instead of the message. No effect on a verdict
            /// that allows.
            pub fn with_cause(
                self,
                field: impl Into<String>,
                message: impl Into<String>,
            ) -> Self {
                self.with_cause_of(CauseReason::Invalid, field, message)
            }

            /// Like [`with_cause`](Self::with_cause), with a more telling reason than
            /// `FieldValueInvalid`.
            pub fn with_cause_of(
                mut self,
                reason: CauseReason,
                field: impl Into<String>,
                message: impl Into<String>,
            ) -> Self {
                if let Some(denial) = &mut self.verdict.denial {
                    denial.causes.push(Cause {
                        reason: reason.as_str(),
                        message: message.into(),
                        field: field.into(),
                    });
                }
                self
            }

            /// A line that kubectl prints, whether the request passes or not. The API server keeps
            /// 4096 characters of all warnings together, and cuts each to 256 beyond that.
            pub fn with_warning(mut self, warning: impl Into<String>) -> Self {
                self.verdict.warnings.push(warning.into());
                self
            }

            /// An entry for the audit log, stored as `WEBHOOK NAME/KEY`. The key is at most 63
            /// characters of letters, digits, `-`, `_` and `.`, which begins and ends with a letter
            /// or digit; another one is left out, since the API server would drop it.
            pub fn with_audit_annotation(
                mut self,
                key: impl Into<String>,
                value: impl Into<String>,
            ) -> Self {
                self.verdict
                    .audit_annotations
                    .insert(key.into(), value.into());
                self
            }
        }
    )+};
}

decorations! {
    [] ValidationResult;
    [K] MutationResult<K>;
}

/// What is wrong with a field, as the API server's own validation words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CauseReason {
    /// `FieldValueInvalid`: malformed or out of range.
    Invalid,
    /// `FieldValueRequired`: missing.
    Required,
    /// `FieldValueDuplicate`: there is another of that value.
    Duplicate,
    /// `FieldValueNotSupported`: not one of the known values.
    NotSupported,
    /// `FieldValueForbidden`: not to be set, or changed, as things are.
    Forbidden,
    /// `FieldValueNotFound`: refers to something that doesn't exist.
    NotFound,
    /// `FieldValueTooLong`.
    TooLong,
    /// `FieldValueTooMany`.
    TooMany,
}

impl CauseReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) denial: Option<Denial>,
    pub(super) warnings: Vec<String>,
    pub(super) audit_annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) message: String,
    pub(super) code: u16,
    pub(super) reason: Option<String>,
    pub(super) causes: Vec<Cause>,
}

impl Verdict {
    fn denied(message: impl Into<String>) -> Self {
        Self {
            denial: Some(Denial {
                message: message.into(),
                code: 400,
                reason: None,
                causes: Vec::new(),
            }),
            ..Self::default()
        }
    }

    fn message(&self) -> Option<&str> {
        self.denial.as_ref().map(|denial| &*denial.message)
    }

    fn code(&self) -> Option<u16> {
        self.denial.as_ref().map(|denial| denial.code)
    }
}
