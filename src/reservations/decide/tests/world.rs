//! A world of one reservation and one host, in which the writer does what is decided and the
//! operator only what it is told to.

use super::*;

pub(super) struct World {
    pub(super) reservation: Reservation,
    pub(super) host: Value,
    pub(super) calendar: HostCalendarStatus,
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
}

impl World {
    pub(super) fn new(spec: &Value) -> Self {
        let reservation = serde_json::from_value(json!({
            "apiVersion": "harbormaster.dev/v1",
            "kind": "Reservation",
            "metadata": {
                "name": "portal-101",
                "namespace": "metal3",
                "uid": "uid-101",
                "generation": 1,
                "finalizers": ["harbormaster.dev/release"],
            },
            "spec": spec,
        }))
        .unwrap();
        Self {
            reservation,
            host: json!({
                "metadata": {"name": "srv", "namespace": "metal3", "uid": "uid-srv"},
                "spec": {"online": false},
                "status": {
                    "operationalStatus": "OK",
                    "poweredOn": false,
                    "provisioning": {"state": "available", "ID": "1"},
                },
            }),
            calendar: HostCalendarStatus::default(),
            policy: Policy {
                image: Image {
                    url: IMAGE.to_owned(),
                    ..Image::default()
                },
                deprovision_image: None,
                provisioning_timeout: Duration::from_secs(2700),
                end_grace: Duration::from_secs(600),
            },
            now: at(START),
        }
    }

    /// A booking from an event whose START has come.
    pub(super) fn booked() -> Self {
        Self::new(&json!({
            "source": {"provider": "portal", "eventId": "101"},
            "resource": {"name": "srv"},
            "window": {"start": START, "end": "2026-01-01T12:00:00Z"},
            "lifecycle": {"desiredState": "Active"},
            "access": {"authorizedKeys": [{"key": "ssh-ed25519 AAAA mario"}]},
        }))
    }

    /// An END that names no booking, on a host with an image that somebody put there by hand.
    pub(super) fn ended_without_id() -> Self {
        let mut world = Self::new(&json!({
            "source": {"provider": "portal"},
            "resource": {"name": "srv"},
            "window": {"start": START},
            "lifecycle": {"desiredState": "Released"},
        }));
        world.host["spec"]["image"] = json!({"url": "http://by-hand"});
        world
    }

    pub(super) fn host(&self) -> BareMetalHost {
        serde_json::from_value(self.host.clone()).unwrap()
    }

    pub(super) fn look(&self) -> Decision {
        let found = lookup::lookup(&self.reservation, &[self.host()]);
        decide(
            &self.reservation,
            &self.calendar,
            &found,
            &self.policy,
            self.now,
        )
    }

    /// One pass, and what the writer would do after it.
    pub(super) fn pass(&mut self) -> Action {
        let decision = self.look();
        self.reservation.status = Some(decision.status);
        let spec = &mut self.host["spec"];
        match &decision.action {
            Action::Claim => {
                spec["consumerRef"] = json!({
                    "apiVersion": "harbormaster.dev/v1",
                    "kind": "Reservation",
                    "namespace": "metal3",
                    "name": "portal-101",
                    "uid": "uid-101",
                });
            }
            Action::Provision(deployment) => {
                match deployment {
                    Deployment::Image(image) => spec["image"] = json!({"url": image.url}),
                    Deployment::Method(deploy) => {
                        spec["customDeploy"] = json!({"method": deploy.method});
                    }
                }
                spec["userData"] = json!({"name": "portal-101-userdata"});
                spec["online"] = json!(true);
            }
            Action::Clear => {
                for field in ["image", "customDeploy", "userData"] {
                    spec.as_object_mut().unwrap().remove(field);
                }
                spec["online"] = json!(false);
            }
            Action::Free { image } => {
                spec.as_object_mut().unwrap().remove("consumerRef");
                if let Some(url) = image {
                    spec["image"] = json!({"url": url});
                }
            }
            Action::WriteCalendar { status, .. } => self.calendar = (**status).clone(),
            Action::Finish { status } => self.reservation.status = Some((**status).clone()),
            _ => {}
        }
        decision.action
    }

    /// Passes until the host's calendar has the booking.
    pub(super) fn enter_calendar(&mut self) {
        assert!(matches!(self.pass(), Action::WriteCalendar { .. }));
    }

    /// Passes until nothing more is to be done.
    pub(super) fn settle(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for _ in 0..20 {
            let before = (self.reservation.status.clone(), self.host.clone());
            let action = self.pass();
            if matches!(action, Action::Finish { .. } | Action::WriteCalendar { .. }) {
                // Told by the record, and by the calendar itself.
                continue;
            }
            if action != Action::Wait {
                actions.push(action);
            } else if before == (self.reservation.status.clone(), self.host.clone()) {
                return actions;
            }
        }
        panic!("it never settles: {actions:?}");
    }

    /// What the operator does about an image.
    pub(super) fn operator_provisions(&mut self, at: &str) {
        self.host["status"]["provisioning"] = json!({
            "state": "provisioned", "ID": "1",
            "image": self.host["spec"]["image"],
            "customDeploy": self.host["spec"]["customDeploy"],
        });
        self.host["status"]["operationHistory"]["provision"] = json!({"start": at, "end": at});
        self.host["status"]["poweredOn"] = json!(true);
    }

    /// What the operator does about a missing image.
    pub(super) fn operator_cleans(&mut self, at: &str) {
        self.host["status"]["provisioning"] = json!({"state": "available", "ID": "1"});
        self.host["status"]["operationHistory"]["deprovision"] = json!({"start": at, "end": at});
        self.host["status"]["poweredOn"] = json!(false);
    }

    pub(super) fn want(&mut self, state: DesiredState) {
        let lifecycle = self.reservation.spec.lifecycle.get_or_insert_default();
        lifecycle.desired_state = Some(state);
    }

    pub(super) fn pass_time(&mut self, seconds: i64) {
        self.now = self
            .now
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap();
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        self.reservation.status.as_ref()?.phase
    }

    pub(super) fn ready(&self) -> (String, String) {
        let status = self.reservation.status.as_ref().unwrap();
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
        let ready = ready.unwrap();
        (ready.status.clone(), ready.reason.clone())
    }

    pub(super) fn held_by(&self) -> Option<String> {
        Some(
            self.host["spec"]["consumerRef"]["name"]
                .as_str()?
                .to_owned(),
        )
    }

    /// Up to a host that its user has.
    pub(super) fn active() -> Self {
        let mut world = Self::booked();
        world.settle();
        world.operator_provisions("2026-01-01T10:01:00Z");
        world.settle();
        assert_eq!(world.phase(), Some(Phase::Active));
        world
    }
}
