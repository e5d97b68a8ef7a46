//! Owns a small CustomResourceDefinition of BareMetalHost, for tests and demos in clusters without
//! Metal3. It checks what the types of this crate know and lets everything else pass; it is no
//! replacement for the definition that comes with the operator, which checks more.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

/// A CustomResourceDefinition for `baremetalhosts.metal3.io`, version `v1alpha1`.
///
/// Never apply it where the operator's own is installed: it would replace that one.
#[must_use]
#[expect(
    clippy::missing_panics_doc,
    reason = "the literal below is the only input"
)]
pub fn crd() -> CustomResourceDefinition {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "baremetalhosts.metal3.io"},
        "spec": {
            "group": "metal3.io",
            "scope": "Namespaced",
            "names": {
                "kind": "BareMetalHost",
                "listKind": "BareMetalHostList",
                "plural": "baremetalhosts",
                "singular": "baremetalhost",
                "shortNames": ["bmh", "bmhost"],
            },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": printer_columns(),
                "schema": {"openAPIV3Schema": {
                    "description": "A bare-metal host.",
                    "type": "object",
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "spec": spec(),
                        "status": status(),
                    },
                }},
            }],
        },
    });
    serde_json::from_value(definition).expect("the literal is a CustomResourceDefinition")
}

fn printer_columns() -> Value {
    let column = |name, path| json!({"name": name, "type": "string", "jsonPath": path});
    json!([
        column("State", ".status.provisioning.state"),
        column("Consumer", ".spec.consumerRef.name"),
        column("Online", ".spec.online"),
        column("Error", ".status.errorType"),
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ])
}

fn spec() -> Value {
    open(
        "What is wanted of the host.",
        &["online"],
        json!({
            "online": flag("Whether the power is to be on; false also keeps an image from being written."),
            "image": image("The image to be written."),
            "customDeploy": custom_deploy(),
            "userData": secret("The cloud-init user data."),
            "networkData": secret("The cloud-init network data."),
            "metaData": secret("The cloud-init metadata."),
            "consumerRef": open("Who uses the host.", &[], json!({
                "apiVersion": text("Group and version of the consumer."),
                "kind": text("Kind of the consumer."),
                "namespace": text("Namespace of the consumer."),
                "name": text("Name of the consumer."),
                "uid": text("Uid of the consumer."),
            })),
            "externallyProvisioned": flag("Whether somebody else wrote the disk."),
            "automatedCleaningMode": choice(
                "What is wiped between two users.",
                &["metadata", "disabled"],
            ),
            "disablePowerOff": flag("Whether the host may never be switched off."),
            "bmc": open("How the management controller is reached.", &["address", "credentialsName"], json!({
                "address": text("URL whose scheme names the driver."),
                "credentialsName": text("Secret with username and password."),
                "disableCertificateVerification": flag("Whether any certificate will do."),
            })),
            "bootMACAddress": text("MAC address of the interface the host boots from."),
            "description": text("Text for people."),
        }),
    )
}

fn status() -> Value {
    open(
        "What the operator saw and did.",
        &[],
        json!({
            "operationalStatus": choice(
                "Whether the host is well.",
                &["", "OK", "discovered", "error", "delayed", "detached", "servicing"],
            ),
            "errorType": text("Which operation failed."),
            "errorMessage": text("Why it failed."),
            "errorCount": {"description": "How often in a row it failed.", "type": "integer"},
            "poweredOn": flag("Whether the power was on when last seen."),
            "provisioning": open("State and the image on the disk.", &["ID", "state"], json!({
                "ID": text("The host's id in Ironic."),
                "state": text("Where the operator has brought the host."),
                "image": image("The image last written with success."),
                "customDeploy": custom_deploy(),
            })),
            "operationHistory": open("When operations began and ended.", &[], json!({
                "register": operation(),
                "inspect": operation(),
                "provision": operation(),
                "deprovision": operation(),
            })),
        }),
    )
}

fn image(description: &str) -> Value {
    open(
        description,
        &["url"],
        json!({
            "url": text("Where the image is fetched from."),
            "checksum": text("Checksum, or the URL of a file with checksums."),
            "checksumType": choice("Algorithm of the checksum.", &["md5", "sha256", "sha512", "auto"]),
            "format": choice("Format of the image.", &["raw", "qcow2", "vdi", "vmdk", "live-iso"]),
        }),
    )
}

fn custom_deploy() -> Value {
    let method = json!({"method": text("Name of the procedure.")});
    open(
        "A deploy procedure in place of an image.",
        &["method"],
        method,
    )
}

fn secret(description: &str) -> Value {
    open(
        description,
        &[],
        json!({"name": text("Name of the Secret."), "namespace": text("Namespace of the Secret.")}),
    )
}

fn operation() -> Value {
    // The operator writes null for what has not happened yet.
    let time = |description| json!({"description": description, "type": "string", "format": "date-time", "nullable": true});
    open(
        "When the last operation of this kind began and ended.",
        &[],
        json!({"start": time("When it began."), "end": time("When it ended.")}),
    )
}

/// An object whose unknown fields stay: the API server would silently prune them otherwise.
fn open(description: &str, required: &[&str], properties: Value) -> Value {
    let mut schema = json!({
        "description": description,
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    });
    schema["properties"] = properties;
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn text(description: &str) -> Value {
    json!({"description": description, "type": "string"})
}

fn flag(description: &str) -> Value {
    json!({"description": description, "type": "boolean"})
}

fn choice(description: &str, values: &[&str]) -> Value {
    json!({"description": description, "type": "string", "enum": values})
}
