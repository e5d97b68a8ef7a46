//! Metal3's operator, one look at one host at a time: the pure rules of the crate `metal3`,
//! and what real hardware does to them.

use std::time::Duration;

use metal3::{
    BareMetalHost, ProvisioningState,
    simulator::{Situation, Step, next},
};
use serde_json::{json, to_value};

use crate::{
    api_server::{Kind, Request, Verb},
    coverage::Fault,
    oracle::host,
    world::{Actor, World},
};

impl World {
    /// One look.
    pub(crate) fn operate(&mut self, name: &str) {
        let Some(object) = self.server.one(Kind::Host, name) else {
            self.machines.remove(name);
            self.situations.remove(name);
            return;
        };
        let mut host = host(object);
        if self.now < self.operator_back {
            self.machines.set(name, self.operator_back);
            return;
        }
        if self.goes_wrong(Fault::OperatorDown, 4) {
            let away = Duration::from_secs(self.rng.u64(60..5400));
            self.operator_back = self.now + away;
            self.machines.set(name, self.operator_back);
            return;
        }
        if self.breaks(&mut host) {
            return;
        }
        let now = self.now;
        let situation = match self.situations.remove(name) {
            Some(situation) => situation.again(&host, now),
            None => Situation::first(&host, now),
        };
        let missing = self.is_user_data_missing(&host);
        let situation = situation.with_user_data_missing(missing);
        let step = next(&host, &situation, &self.timings);
        self.situations.insert(name.to_owned(), situation);
        match &step {
            Step::Idle => self.machines.remove(name),
            Step::Wait(remaining) => self.machines.set(name, now + *remaining),
            _ => self.machines.set(name, now),
        }
        if !step.is_change() {
            return;
        }
        let is_status = matches!(step, Step::Write(_));
        step.apply(&mut host);
        self.write(&host, is_status);
    }

    fn write(&mut self, host: &BareMetalHost, status: bool) {
        let verb = if status {
            Verb::Replace(to_value(host).expect("a host is JSON"))
        } else {
            Verb::Merge(json!({"metadata": {
                "resourceVersion": host.metadata.resource_version,
                "finalizers": host.metadata.finalizers,
            }}))
        };
        let request = Request {
            kind: Kind::Host,
            name: host.name().to_owned(),
            status,
            verb,
        };
        self.request(Actor::Operator, &request);
    }

    /// Hardware that fails where it is.
    fn breaks(&mut self, host: &mut BareMetalHost) -> bool {
        if host.has_error() || host.is_paused() {
            return false;
        }
        let (fault, error) = match host.state() {
            ProvisioningState::Provisioning => (Fault::ProvisioningError, "provisioning error"),
            ProvisioningState::Deprovisioning => (Fault::CleaningError, "provisioning error"),
            _ => return false,
        };
        if !self.goes_wrong(fault, 60) {
            return false;
        }
        let status = host.status.get_or_insert_default();
        status.operational_status = Some("error".to_owned());
        status.error_type = Some(error.to_owned());
        status.error_message = Some("the machine did not come back".to_owned());
        status.error_count = Some(status.error_count.unwrap_or_default() + 1);
        self.write(host, true);
        true
    }

    fn is_user_data_missing(&self, host: &BareMetalHost) -> bool {
        let name = host.spec.user_data.as_ref().and_then(|it| it.name.as_ref());
        name.is_some_and(|name| self.server.one(Kind::Secret, name).is_none())
    }
}
