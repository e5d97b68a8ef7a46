//! Says out loud how an image's checksum is to be read.
//!
//! An absent `checksumType` meant md5 up to operator 0.9 and `auto` since: written down, the
//! intent survives an upgrade. Only a write that sets or changes the image is touched, so
//! that nobody's unrelated edit grows a field.

use kube_webhook::{
    Fault,
    admission::{
        AdmissionContext, Create, MutateCreate, MutateUpdate, MutationResult, MutationWebhook, Old,
        Update,
    },
};
use metal3::{BareMetalHost, Image};
use serde::Deserialize;

/// The defaults of a BareMetalHost.
#[derive(Clone, Copy, Debug)]
pub struct HostDefaults;

impl MutationWebhook<BareMetalHost> for HostDefaults {
    type Operations = (Create, Update);
}

impl MutateCreate<BareMetalHost> for HostDefaults {
    async fn create(
        &self,
        host: BareMetalHost,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<BareMetalHost>, Fault> {
        Ok(default_checksum_type(host))
    }
}

impl MutateUpdate<BareMetalHost> for HostDefaults {
    async fn update(
        &self,
        old: &Old<'_, BareMetalHost>,
        new: BareMetalHost,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<BareMetalHost>, Fault> {
        let old: Narrow = old.view()?;
        if old.spec.image == new.spec.image {
            return Ok(MutationResult::no_changes());
        }
        Ok(default_checksum_type(new))
    }
}

/// What the defaults need of the object as it was.
#[derive(Deserialize)]
struct Narrow {
    #[serde(default)]
    spec: NarrowSpec,
}

#[derive(Default, Deserialize)]
struct NarrowSpec {
    image: Option<Image>,
}

fn default_checksum_type(mut host: BareMetalHost) -> MutationResult<BareMetalHost> {
    match &mut host.spec.image {
        Some(image) if lacks_checksum_type(image) => {
            image.checksum_type = Some("auto".to_owned());
            MutationResult::modified(host)
        }
        _ => MutationResult::no_changes(),
    }
}

/// A live ISO's checksum is ignored, and an OCI image must have none.
fn lacks_checksum_type(image: &Image) -> bool {
    image
        .checksum
        .as_deref()
        .is_some_and(|checksum| !checksum.is_empty())
        && image.checksum_type.is_none()
        && image.format.as_deref() != Some("live-iso")
        && !image.url.starts_with("oci://")
}

#[cfg(test)]
mod tests {
    use kube_webhook::admission::Operation;
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;

    fn host(image: &Value) -> BareMetalHost {
        serde_json::from_value(json!({"spec": {"online": false, "image": image}})).unwrap()
    }

    async fn created(image: Value) -> Option<String> {
        let cx = AdmissionContext::new(Operation::Create);
        let result = HostDefaults.create(host(&image), &cx).await.unwrap();
        let image = result.object()?.spec.image.clone()?;
        image.checksum_type
    }

    #[tokio::test]
    async fn a_checksum_without_a_type_is_auto() {
        let image = json!({"url": "http://images/noble.qcow2", "checksum": "abc"});
        assert_eq!(created(image).await.as_deref(), Some("auto"));
    }

    #[tokio::test]
    async fn what_has_a_type_or_no_use_for_one_is_left_alone() {
        for image in [
            json!({"url": "http://i", "checksum": "abc", "checksumType": "md5"}),
            json!({"url": "http://i"}),
            json!({"url": "http://i", "checksum": ""}),
            json!({"url": "http://i", "checksum": "abc", "format": "live-iso"}),
            json!({"url": "oci://i", "checksum": "abc"}),
        ] {
            assert_eq!(created(image.clone()).await, None, "{image}");
        }
    }

    #[tokio::test]
    async fn an_edit_that_does_not_touch_the_image_grows_no_field() {
        let image = json!({"url": "http://i", "checksum": "abc"});
        let cx = AdmissionContext::new(Operation::Update);
        let raw = to_raw_value(&host(&image)).unwrap();
        let result = HostDefaults
            .update(&Old::new(&raw), host(&image), &cx)
            .await
            .unwrap();
        assert!(result.object().is_none());
    }
}
