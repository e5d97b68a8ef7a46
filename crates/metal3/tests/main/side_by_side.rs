//! The same things are done to hosts of the simulator and to hosts of the real operator, on the same
//! API server and under the operator's own definitions: what comes of it must be the same.

use std::collections::BTreeSet;

use control_plane::ControlPlane;
use metal3::BareMetalHost;
use metal3::simulator::Timings;

use crate::lab::Lab;
use crate::operator::Tools;
use crate::script::{self, Rest};
use crate::simulator::Running;

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_leaves_hosts_as_the_real_operator_does() {
    let test = "the_simulator_leaves_hosts_as_the_real_operator_does";
    let Some(tools) = Tools::find(test) else {
        return;
    };
    let control_plane = ControlPlane::start().await.unwrap();
    tools.install(&control_plane);

    let real = Lab::new(control_plane.client(), &BareMetalHost::resource()).await;
    let operator = tools.start(&control_plane, &real.namespace);
    let simulated = Lab::new(control_plane.client(), &BareMetalHost::resource()).await;
    let simulator = Running::start(&simulated, |simulator| {
        simulator.timings(Timings::default())
    });

    let (by_operator, by_simulator) = tokio::join!(script::life(&real), script::life(&simulated));
    compare(by_operator, by_simulator);
    let (by_operator, by_simulator) =
        tokio::join!(script::odd_ones(&real), script::odd_ones(&simulated));
    compare(by_operator, by_simulator);

    simulator.stop().await;
    drop(operator);
    control_plane.stop().await.unwrap();
}

fn compare(by_operator: Vec<Rest>, by_simulator: Vec<Rest>) {
    assert_eq!(by_operator.len(), by_simulator.len());
    for (mut by_operator, by_simulator) in by_operator.into_iter().zip(by_simulator) {
        let left_out: BTreeSet<_> = LEFT_OUT.iter().map(|path| (*path).to_owned()).collect();
        by_operator.fields = &by_operator.fields - &left_out;
        assert_eq!(by_operator, by_simulator, "operator left, simulator right");
    }
}

/// What the operator writes of hardware and credentials, and the simulator has not.
const LEFT_OUT: &[&str] = &[
    ".goodCredentials.credentials",
    ".goodCredentials.credentialsVersion",
    ".hardware.cpu",
    ".hardware.firmware",
    ".hardware.nics",
    ".hardware.ramMebibytes",
    ".hardware.storage",
    ".hardware.systemVendor",
    ".hardwareProfile",
    ".provisioning.bootMode",
    ".provisioning.rootDeviceHints",
    ".triedCredentials.credentials",
    ".triedCredentials.credentialsVersion",
];
