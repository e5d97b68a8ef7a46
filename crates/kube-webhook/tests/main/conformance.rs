//! Kubernetes' own acceptance cases against the example server and the framework, called by a real
//! kube-apiserver. `K` and a number is the comment at the test's head.
//!
//! | case | test |
//! |---|---|
//! | K1 discovery | `admission::discovery_lists_the_webhook_resources` |
//! | K2 unwanted pods and config maps | `admission::unwanted_pods_and_config_maps_are_denied`; as a Service: `network` |
//! | K3 attaching to a pod | `admission::attaching_to_a_pod_is_denied` |
//! | K4 unwanted custom resources | `custom::an_unwanted_custom_resource_is_neither_created_nor_updated_nor_deleted` |
//! | K5 failing closed | `admission::a_webhook_that_cannot_be_called_rejects_what_it_guards` |
//! | K6 ordered stages | `admission::a_config_map_goes_through_two_ordered_stages` |
//! | K7 defaults after mutation | `admission::what_is_added_to_a_pod_gets_its_defaults` |
//! | K8 configurations are exempt | `admission::webhooks_neither_change_nor_keep_webhook_configurations` |
//! | K9 custom resources in stages | `custom::a_custom_resource_goes_through_two_ordered_stages` |
//! | K10 unwanted CRDs | `admission::an_unwanted_crd_is_denied` |
//! | K11 another stored version | `custom::a_custom_resource_is_mutated_whatever_version_is_stored` |
//! | K12 pruning | `custom::what_the_schema_does_not_know_is_pruned_after_mutation` |
//! | K13 timeouts | `admission::a_timeout_is_honoured_whatever_the_policy` |
//! | K14 K15 changed configurations | `admission::changes_of_a_configuration_take_effect` |
//! | K16 K17 list and deletecollection | `admission::configurations_are_listed_and_deleted_together` |
//! | K18 to K21 invalid matchConditions | `admission::match_conditions_that_do_not_compile_are_refused` |
//! | K22 K33 matchConditions | `admission::match_conditions_except_what_is_to_be_skipped` |
//! | K23 one version read as another | `conversion::an_object_of_one_version_is_read_as_another` |
//! | K24 K37 mixed lists, every version | `conversion::every_version_lists_what_is_stored_at_any` |
//! | K25 what is sent for which request | `reviews::every_request_is_sent_with_what_belongs_to_it`, `subresources::a_subresource_is_sent_with_an_object_of_its_own` |
//! | K26 timeouts of a chain | `dispatch::a_call_has_the_lesser_of_the_hooks_and_the_requests_time` |
//! | K28 K68 credentials | `clients::the_api_server_shows_a_webhook_the_credentials_kept_for_it` |
//! | K30 managedFields | `dispatch::spoilt_managed_fields_are_reset_with_a_warning` |
//! | K31 owner references | `reviews::duplicate_owners_become_one_with_a_warning` |
//! | K32 a broken webhook | `clients::a_broken_webhook_for_everything_keeps_no_api_server_from_starting` |
//! | K34 converted before mutation | `dispatch::another_version_is_converted_to_the_rules_before_it_is_sent` |
//! | K35 an address used again | `clients::an_address_that_another_server_took_over_is_called_no_more` |
//! | K36 exempt types | `reviews::no_webhook_is_asked_about_the_objects_of_admission` |
//! | K40 no objects | `conversion::an_answer_without_objects_is_refused` |
//! | K41 failures of conversion | `conversion::a_failure_reaches_the_user_on_every_verb` |
//! | K42 a version not handled | `conversion::a_review_version_that_is_not_handled_is_a_rejected_request` |
//! | K45 to K56 checks of answers | `fidelity::the_testing_kit_says_what_the_api_server_says`, `edges::the_answers_pass_the_api_servers_checks_in_both_versions`, `dispatch::a_denial_says_why_if_the_webhook_does` |
//! | K46 audit annotations | `fidelity::audit_annotations_reach_the_audit_log_under_the_webhooks_name` |
//! | K57 exempt namespaces | `dispatch::a_namespace_is_exempt_by_its_labels` |
//! | K58 K61 failure policies | `dispatch::failed_calls_are_ignored_only_by_policy_and_leave_a_trace` |
//! | K59 K60 useless targets | `dispatch::a_target_that_is_of_no_use_fails_at_the_call` |
//! | K62 dry runs | `dispatch::a_dry_run_reaches_only_hooks_that_have_no_effects_then` |
//! | K65 a label on any object | `custom::a_label_is_added_to_typed_and_custom_objects` |
//! | K66 undecodable patches | `dispatch::a_patch_that_does_not_decode_is_a_failed_call_and_one_that_does_not_apply_is_not` |
//! | K67 reinvocation | `dispatch::a_mutator_is_called_again_only_if_it_asks_to_be` |
//! | K69 the cache of clients | `clients::hooks_with_one_ca_bundle_share_their_connections` |
//! | K71 HTTP/1.1 | `network::a_service_is_called_over_http_1_1` |
//! | K73 review versions | `reviews::the_first_review_version_that_is_known_is_spoken` |
//! | K74 checks of conversions | the kit's own tests, and `conversion` for those that the API server words itself |

#[path = "conformance/admission.rs"]
mod admission;
#[path = "conformance/broken.rs"]
mod broken;
#[path = "conformance/clients.rs"]
mod clients;
#[path = "conformance/conversion.rs"]
mod conversion;
#[path = "conformance/custom.rs"]
mod custom;
#[path = "conformance/dispatch.rs"]
mod dispatch;
#[path = "conformance/edges.rs"]
mod edges;
#[path = "conformance/fidelity.rs"]
mod fidelity;
#[path = "conformance/network.rs"]
mod network;
#[path = "conformance/process.rs"]
mod process;
#[path = "conformance/reviews.rs"]
mod reviews;
#[path = "conformance/stage.rs"]
pub(crate) mod stage;
#[path = "conformance/subresources.rs"]
mod subresources;
