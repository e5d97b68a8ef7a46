//! Objects shaped like a BareMetalHost, and reviews of them.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The stored version.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "bench.example.com",
    version = "v2",
    kind = "Host",
    root = "Host",
    status = "Status",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HostSpec {
    pub(crate) online: bool,
    #[serde(rename = "bootMACAddress")]
    pub(crate) boot_mac_address: String,
    pub(crate) bmc: Bmc,
    pub(crate) image: Image,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) automated_cleaning_mode: Option<String>,
}

/// The older version, which has the BMC's address and credentials in one place less.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "bench.example.com",
    version = "v1",
    kind = "Host",
    root = "V1Host",
    status = "Status",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct V1HostSpec {
    pub(crate) online: bool,
    #[serde(rename = "bootMACAddress")]
    pub(crate) boot_mac_address: String,
    pub(crate) bmc_address: String,
    pub(crate) bmc_credentials: String,
    pub(crate) image: Image,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) automated_cleaning_mode: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Bmc {
    pub(crate) address: String,
    pub(crate) credentials_name: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Image {
    pub(crate) url: String,
    pub(crate) checksum: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    operational_status: String,
    powered_on: bool,
    error_count: u32,
    hardware: Hardware,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Hardware {
    hostname: String,
    ram_mebibytes: u64,
    cpu: Cpu,
    nics: Vec<Nic>,
    storage: Vec<Disk>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Cpu {
    arch: String,
    model: String,
    count: u32,
    clock_megahertz: f64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Nic {
    name: String,
    model: String,
    mac: String,
    ip: String,
    speed_gbps: u32,
    pxe: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Disk {
    name: String,
    serial_number: String,
    size_bytes: u64,
    rotational: bool,
}

/// As much of a host as a rule looks at.
#[derive(Deserialize)]
pub(crate) struct Narrow {
    pub(crate) spec: NarrowSpec,
}

#[derive(Deserialize)]
pub(crate) struct NarrowSpec {
    #[serde(rename = "bootMACAddress")]
    pub(crate) boot_mac_address: String,
}

/// As much of a host as a hook changes.
#[derive(Deserialize, Serialize)]
pub(crate) struct NarrowChange {
    pub(crate) metadata: NarrowMetadata,
    pub(crate) spec: NarrowMode,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct NarrowMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NarrowMode {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) automated_cleaning_mode: Option<String>,
}

/// A host of about 2.4 kB with few NICs, 26 kB with many.
pub(crate) fn host(nics: usize, index: usize) -> Value {
    let nics: Vec<Value> = (0..nics)
        .map(|nic| {
            json!({
                "name": format!("eth{nic}"),
                "model": "0x8086 0x1572",
                "mac": format!("52:54:00:{:02x}:{:02x}:{:02x}", index % 256, nic / 256, nic % 256),
                "ip": format!("10.0.{}.{}", nic / 250, nic % 250),
                "speedGbps": 25,
                "pxe": nic == 0,
            })
        })
        .collect();
    json!({
        "apiVersion": "bench.example.com/v2",
        "kind": "Host",
        "metadata": {
            "name": format!("rack-{index}"),
            "namespace": "metal3",
            "uid": format!("7a3b0d4e-0000-4000-8000-{index:012}"),
            "resourceVersion": "123456",
            "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"rack": "r12", "example.com/resource-id": "4711"},
            "annotations": {"example.com/resource-name": "restart-srv01"},
            "finalizers": ["baremetalhost.metal3.io"],
            "managedFields": [{
                "manager": "baremetal-operator", "operation": "Update", "apiVersion": "bench.example.com/v2",
                "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:status": {"f:hardware": {"f:cpu": {"f:arch": {}, "f:model": {}}, "f:nics": {}, "f:storage": {}}, "f:errorCount": {}, "f:poweredOn": {}}},
            }],
        },
        "spec": {
            "online": true,
            "bootMACAddress": "52:54:00:12:34:56",
            "bmc": {"address": "redfish-virtualmedia://10.1.2.3/redfish/v1/Systems/1", "credentialsName": "bmc-1"},
            "image": {"url": "https://images.example.com/ubuntu-24.04.qcow2", "checksum": "https://images.example.com/SHA256SUMS"},
            "automatedCleaningMode": "metadata",
        },
        "status": {
            "operationalStatus": "OK",
            "poweredOn": true,
            "errorCount": 0,
            "hardware": {
                "hostname": "node-1",
                "ramMebibytes": 262_144,
                "cpu": {"arch": "x86_64", "model": "Intel(R) Xeon(R) Gold 6348", "count": 112, "clockMegahertz": 3_500.25},
                "nics": nics,
                "storage": [
                    {"name": "/dev/disk/by-path/pci-0000:3b:00.0-scsi-0:0:0:0", "serialNumber": "PHYF1", "sizeBytes": 1_920_383_410_176_u64, "rotational": false},
                    {"name": "/dev/disk/by-path/pci-0000:3b:00.0-scsi-0:0:1:0", "serialNumber": "PHYF2", "sizeBytes": 1_920_383_410_176_u64, "rotational": false},
                ],
            },
        },
    })
}

/// The same as the older version has it.
fn v1_host(nics: usize, index: usize) -> Value {
    let mut host = host(nics, index);
    host["apiVersion"] = "bench.example.com/v1".into();
    if let Some(spec) = host["spec"].as_object_mut()
        && let Some(bmc) = spec.remove("bmc")
    {
        spec.insert("bmcAddress".to_owned(), bmc["address"].clone());
        spec.insert("bmcCredentials".to_owned(), bmc["credentialsName"].clone());
    }
    host
}

/// An UPDATE that edits the image.
pub(crate) fn update(nics: usize) -> Vec<u8> {
    let old = host(nics, 1);
    let mut new = old.clone();
    new["spec"]["image"]["url"] = "https://images.example.com/ubuntu-26.04.qcow2".into();
    let kind = json!({"group": "bench.example.com", "version": "v2", "kind": "Host"});
    let resource = json!({"group": "bench.example.com", "version": "v2", "resource": "hosts"});
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": kind, "resource": resource,
            "requestKind": kind, "requestResource": resource,
            "name": "rack-1", "namespace": "metal3", "operation": "UPDATE",
            "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
            "object": new, "oldObject": old, "dryRun": false,
            "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    });
    review.to_string().into_bytes()
}

/// A review of so many objects at the older version.
pub(crate) fn conversion(objects: usize) -> Vec<u8> {
    let objects: Vec<Value> = (0..objects).map(|index| v1_host(3, index)).collect();
    // In the order in which the API server writes it.
    format!(
        r#"{{"kind":"ConversionReview","apiVersion":"apiextensions.k8s.io/v1","request":{{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","desiredAPIVersion":"bench.example.com/v2","objects":{}}}}}"#,
        Value::from(objects)
    )
    .into_bytes()
}
