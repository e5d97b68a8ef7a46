//! The traits of a validating hook. Implemented by programs, called by `handler`.

use futures::future::{BoxFuture, FutureExt};
use serde::de::DeserializeOwned;

use super::{
    AdmissionContext, Connect, Contains, Create, Delete, Old, Operation, OperationSet, Update,
    ValidationResult, handler::Objects, operation::for_each_set,
};
use crate::Fault;

/// A hook that lets requests for objects of type `K` pass, or denies them.
///
/// Operations that it doesn't list pass without it.
///
/// ```
/// use kube_webhook::admission::{
///     AdmissionContext, Create, ValidateCreate, ValidationResult, ValidationWebhook,
/// };
/// use kube_webhook::Fault;
/// # use k8s_openapi::api::core::v1::ConfigMap;
///
/// struct NoSecretsInConfigMaps;
///
/// impl ValidationWebhook<ConfigMap> for NoSecretsInConfigMaps {
///     type Operations = (Create,);
/// }
///
/// impl ValidateCreate<ConfigMap> for NoSecretsInConfigMaps {
///     async fn create(
///         &self,
///         object: &ConfigMap,
///         _: &AdmissionContext<'_>,
///     ) -> Result<ValidationResult, Fault> {
///         if object.data.iter().flatten().any(|(key, _)| key == "password") {
///             return Ok(ValidationResult::fail("put the password into a Secret")
///                 .with_code(422)
///                 .with_cause("data.password", "belongs into a Secret"));
///         }
///         Ok(ValidationResult::success())
///     }
/// }
/// ```
///
/// A callback whose operation isn't listed doesn't compile:
///
/// ```compile_fail,E0277
/// # use kube_webhook::{Fault, admission::*};
/// # use k8s_openapi::api::core::v1::ConfigMap;
/// struct Hook;
///
/// impl ValidationWebhook<ConfigMap> for Hook {
///     type Operations = (Create,);
/// }
///
/// impl ValidateDelete<ConfigMap> for Hook {
///     async fn delete(
///         &self,
///         _: &Old<'_, ConfigMap>,
///         _: &AdmissionContext<'_>,
///     ) -> Result<ValidationResult, Fault> {
///         Ok(ValidationResult::success())
///     }
/// }
/// ```
///
/// Nor can an operation be registered without its callback:
///
/// ```compile_fail,E0277
/// # use kube_webhook::{Fault, Validation, admission::*};
/// # use k8s_openapi::api::core::v1::ConfigMap;
/// struct Hook;
///
/// impl ValidationWebhook<ConfigMap> for Hook {
///     type Operations = (Create,);
/// }
///
/// let webhook = Validation::new(Hook);
/// ```
pub trait ValidationWebhook<K>: Send + Sync + 'static {
    /// The operations that the hook handles, e.g. `(Create, Update)`.
    type Operations: OperationSet;
}

/// The callback for creates.
#[diagnostic::on_unimplemented(
    message = "`{Self}` lists `Create` in `type Operations`, but has no callback for it",
    note = "implement `ValidateCreate`, or take `Create` off the list"
)]
pub trait ValidateCreate<K>: ValidationWebhook<K, Operations: Contains<Create>> {
    /// Judges the object about to be created.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if there can be no verdict; `failurePolicy` decides then.
    fn create(
        &self,
        object: &K,
        cx: &AdmissionContext<'_>,
    ) -> impl Future<Output = Result<ValidationResult, Fault>> + Send;
}

/// The callback for updates.
///
/// Removing a finalizer is an update: a hook that denies it blocks the deletion for good.
#[diagnostic::on_unimplemented(
    message = "`{Self}` lists `Update` in `type Operations`, but has no callback for it",
    note = "implement `ValidateUpdate`, or take `Update` off the list"
)]
pub trait ValidateUpdate<K>: ValidationWebhook<K, Operations: Contains<Update>> {
    /// Judges the change from `old` to `new`.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if there can be no verdict; `failurePolicy` decides then.
    fn update(
        &self,
        old: &Old<'_, K>,
        new: &K,
        cx: &AdmissionContext<'_>,
    ) -> impl Future<Output = Result<ValidationResult, Fault>> + Send;
}

/// The callback for deletes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` lists `Delete` in `type Operations`, but has no callback for it",
    note = "implement `ValidateDelete`, or take `Delete` off the list"
)]
pub trait ValidateDelete<K>: ValidationWebhook<K, Operations: Contains<Delete>> {
    /// Judges the removal of `old`.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if there can be no verdict; `failurePolicy` decides then.
    fn delete(
        &self,
        old: &Old<'_, K>,
        cx: &AdmissionContext<'_>,
    ) -> impl Future<Output = Result<ValidationResult, Fault>> + Send;
}

/// The callback for connects: exec, attach, port-forward and proxy.
///
/// What `K` is then called for are the options of the connection, such as `PodExecOptions`; see
/// [`Resources`](crate::Resources) for how to register it. There is no stored object.
#[diagnostic::on_unimplemented(
    message = "`{Self}` lists `Connect` in `type Operations`, but has no callback for it",
    note = "implement `ValidateConnect`, or take `Connect` off the list"
)]
pub trait ValidateConnect<K>: ValidationWebhook<K, Operations: Contains<Connect>> {
    /// Judges the connection that `options` describe.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if there can be no verdict; `failurePolicy` decides then.
    fn connect(
        &self,
        options: &K,
        cx: &AdmissionContext<'_>,
    ) -> impl Future<Output = Result<ValidationResult, Fault>> + Send;
}

/// That `H` has a callback for every operation of the set: what registration asks for. Implemented
/// for every [`OperationSet`]; not for use by programs.
pub trait ValidationCallbacks<H, K>: OperationSet {
    #[doc(hidden)]
    fn call<'a>(
        hook: &'a H,
        objects: Objects<'a>,
        cx: &'a AdmissionContext<'a>,
    ) -> BoxFuture<'a, Result<ValidationResult, Fault>>;
}

macro_rules! validation_callbacks {
    ($($operation:ident $callback:ident $other:ident $call:ident,)+) => {
        impl<H, K> ValidationCallbacks<H, K> for ($($operation,)+)
        where
            H: ValidationWebhook<K, Operations = ($($operation,)+)> $(+ $callback<K>)+,
            K: DeserializeOwned + Send + Sync + 'static,
        {
            fn call<'a>(
                hook: &'a H,
                objects: Objects<'a>,
                cx: &'a AdmissionContext<'a>,
            ) -> BoxFuture<'a, Result<ValidationResult, Fault>> {
                #[allow(unreachable_patterns, reason = "the set of all has no other operation")]
                match cx.operation() {
                    $(Operation::$operation => $call(hook, objects, cx).boxed(),)+
                    _ => std::future::ready(Ok(ValidationResult::success())).boxed(),
                }
            }
        }
    };
}

for_each_set!(validation_callbacks);

/// What each callback is given of a review's objects.
macro_rules! calls {
    ($($call:ident $callback:ident = |$hook:ident, $objects:ident, $cx:ident| $answer:expr;)+) => {$(
        async fn $call<H, K>(
            $hook: &H,
            $objects: Objects<'_>,
            $cx: &AdmissionContext<'_>,
        ) -> Result<ValidationResult, Fault>
        where
            H: $callback<K>,
            K: DeserializeOwned + Send + Sync + 'static,
        {
            $answer.await
        }
    )+};
}

calls! {
    create ValidateCreate = |hook, objects, cx| hook.create(&objects.decode_new()?, cx);
    update ValidateUpdate = |hook, objects, cx|
        hook.update(&objects.old()?, &objects.decode_new()?, cx);
    delete ValidateDelete = |hook, objects, cx| hook.delete(&objects.old()?, cx);
    connect ValidateConnect = |hook, objects, cx| hook.connect(&objects.decode_new()?, cx);
}
