"""A setting that is accepted has an effect: every key of the model, and the test that sees what it does.

A new key needs a line here, and with it a test. `NOT_YET` names the keys whose effect no test of their own looks at.
"""

import re
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from headgate.config.model import GatewayConfig
from headgate.config.settings import Settings

TESTS = Path(__file__).parents[2]
HERE = "test_settings_take_effect"
MORE = "test_more_settings"
KIT = "unit/test_settings_in_the_kit"
CONTEXT = "unit/test_plugin_context"
SETS = "unit/plugins/test_plugin_sets"

SEEN: dict[str, dict[str, str]] = {
    "GatewayConfig": {
        "path": "test_path_tricks::no_spelling_leads_around_a_rule",
        "listeners": "test_addresses::several_listeners_serve_at_once",
        "tcp": "test_tcp::bytes_go_both_ways_and_each_side_ends_for_itself",
        "udp": "test_udp::responses_come_back_and_an_idle_session_ends",
        "tls_routes": "test_tls_passthrough::name_leads_to_its_server_and_bytes_arrive_unchanged",
        "upstreams": "test_upstreams::round_robin_shares_alike",
        "resolver": "test_discovery::each_address_of_a_name_is_a_server",
        "routes": "test_routing::path_decides",
        "hooks": "test_hook_phases::request_hooks_run_in_order_and_response_hooks_in_reverse",
        "plugins": "test_plugins::key_is_asked_for_and_never_reaches_the_server",
        "limits": "test_limits::head_that_is_too_large_gets_431",
        "timeouts": "test_timeouts::slow_request_head_gets_408",
        "tls": "test_tls_module::demand_is_met_by_the_module",
        "http2": f"{HERE}::http2_enabled",
        "http3": "test_http3_hostile::rapid_reset_ends_the_connection",
        "websocket": "test_websocket_frames::limits_are_named_and_counted",
        "background": f"{HERE}::bound_on_work_beside_requests",
        "forwarding": "test_proxy_headers::via_is_added_both_ways",
        "trusted_proxies": "test_trusted_proxies::what_an_untrusted_peer_says_is_dropped",
        "request_id_header": f"{HERE}::request_id_header",
        "access_log": "test_access_log::json_record_tells_everything",
        "tunnels": "test_tunnels::requests_and_bodies_go_through_it_both_ways",
        "log_targets": "test_log_targets::lines_of_every_worker_come_over_tcp",
        "metrics": "test_metrics::requests_are_counted_by_route_upstream_method_and_status",
        "tracing": "test_tracing::a_request_is_one_trace_from_the_client_to_the_server",
        "server_timing": "test_hook_times::server_timing_tells_each_hook_the_server_and_the_whole",
        "watchdog": "test_blocked_workers::a_blocked_worker_is_told_with_its_stack_and_replaced",
        "error_log": f"{HERE}::error_log_to_a_file_at_a_level",
        "secret_resolvers": "unit/config/test_resolvers::a_file_names_its_functions",
        "consumer_groups": f"{SETS}::a_set_is_used_where_it_is_named",
        "plugin_sets": f"{SETS}::a_set_is_used_where_it_is_named",
        "consumers": "test_consumers::key_auth_takes_the_keys_of_consumers",
        "store": "test_admin::resources_of_a_store_serve_without_an_admin_api",
        "admin": "test_admin::what_is_put_serves_in_every_worker",
        "state_folder": "test_admin_access::socket_is_its_owners_alone",
        "workers": "test_processes::workers_share_the_load",
        "hook_deadline": "test_hook_waiting::late_hook_is_cancelled_and_fails_closed",
        "hook_on_error": f"{HERE}::hook_on_error_open",
        "acme": "test_acme::gateway_orders_what_its_routes_name_and_what_a_reload_adds",
    },
    "AcmeConfig": {
        "directory": "test_acme::certificate_is_ordered_and_served_although_hooks_refuse_everybody",
        "ca": "test_acme::certificate_is_ordered_and_served_although_hooks_refuse_everybody",
        "eab": "test_acme::account_is_bound_to_the_authoritys_customer",
        "profile": "test_acme::profile_and_preferred_chain_are_asked_for",
        "preferred_chain": "test_acme::profile_and_preferred_chain_are_asked_for",
        "email": "test_acme::account_has_the_email",
        "staging": "unit/acme/test_settings::staging_is_an_authority_of_lets_encrypt",
        "fallback": "test_acme::second_authority_is_asked_where_the_first_is_away",
        "challenges": "test_acme::certificate_is_ordered_and_served_although_hooks_refuse_everybody",
        "dns": "test_acme::wildcards_are_proven_in_dns_beside_their_apex_and_along_a_cname",
        "names": "unit/acme/test_settings::names_are_the_hosts_of_routes_and_those_listed",
        "store": "test_acme_sharing::gateways_with_a_store_share_what_they_order",
        "store_keys": "test_acme_sharing::key_is_rotated_and_a_node_without_it_says_so",
        "on_demand": "test_acme_on_demand::first_client_of_an_allowed_name_gets_a_certificate_in_its_handshake",
        "key_types": "test_acme::certificate_that_is_due_is_renewed_and_its_key_kept_where_asked",
        "reuse_key": "test_acme::certificate_that_is_due_is_renewed_and_its_key_kept_where_asked",
        "folder": "test_acme::certificate_is_ordered_and_served_although_hooks_refuse_everybody",
    },
    "AcmeAuthorityConfig": {
        "directory": "test_acme::second_authority_is_asked_where_the_first_is_away",
        "ca": "test_acme::second_authority_is_asked_where_the_first_is_away",
        "eab": "test_acme::account_is_bound_to_the_authoritys_customer",
        "profile": "test_acme::profile_and_preferred_chain_are_asked_for",
        "preferred_chain": "test_acme::profile_and_preferred_chain_are_asked_for",
    },
    "OnDemandConfig": {
        "ask": "test_acme_on_demand::url_decides_where_no_function_does",
        "wait": "unit/acme/test_on_demand::refusals_are_remembered_and_orders_bounded",
        "max_orders": "test_acme_on_demand::orders_are_bounded_in_rate",
        "period": "test_acme_on_demand::orders_are_bounded_in_rate",
    },
    "EabConfig": {
        "key_id": "test_acme::account_is_bound_to_the_authoritys_customer",
        "key": "test_acme::account_is_bound_to_the_authoritys_customer",
    },
    "AcmeDnsConfig": {
        "provider": "test_acme::wildcards_are_proven_in_dns_beside_their_apex_and_along_a_cname",
        "options": "test_acme::wildcards_are_proven_in_dns_beside_their_apex_and_along_a_cname",
        "servers": "test_acme::wildcards_are_proven_in_dns_beside_their_apex_and_along_a_cname",
        "wait": "unit/acme/test_settings::record_that_no_server_shows_is_waited_for_as_long_as_said",
    },
    "PathConfig": {
        "encoded_slashes": f"{MORE}::encoded_slashes",
        "merge_slashes": f"{MORE}::merge_slashes",
    },
    "ConsumerConfig": {
        "plugin_sets": f"{SETS}::a_set_is_used_where_it_is_named",
        "keys": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
        "basic": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
        "jwt": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
        "hmac": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
        "certificates": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
        "groups": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
        "labels": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
    },
    "BasicCredential": {
        "username": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
        "password": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
    },
    "JwtCredential": {
        "id": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
        "key": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
        "algorithm": "unit/config/test_consumers::algorithm_is_told_with_the_key",
    },
    "HmacCredential": {
        "id": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
        "secret": "test_consumers::consumers_are_found_by_every_credential_as_soon_as_they_are_there",
    },
    "AdminConfig": {
        "listen": "test_admin::what_is_put_serves_in_every_worker",
        "tokens": "test_admin_access::roles_may_do_what_they_say_and_nothing_else",
        "tls": "test_admin_access::tls_guards_it_as_other_listeners",
        "hosts": "test_admin_access::pages_of_others_change_nothing",
    },
    "TokenConfig": {
        "token": "test_admin_access::roles_may_do_what_they_say_and_nothing_else",
        "role": "test_admin_access::roles_may_do_what_they_say_and_nothing_else",
        "name": "test_admin_access::roles_may_do_what_they_say_and_nothing_else",
    },
    "ListenerConfig": {
        "plugin_sets": f"{SETS}::a_set_of_python_is_made_once_and_has_its_name",
        "address": "test_addresses::listener_of_each_kind_serves",
        "name": "test_hook_phases::request_tells_everything_about_itself",
        "mode": "unit/supervisor/test_listeners::a_unix_socket_has_the_mode_that_is_asked_for",
        "proxy_protocol": "test_proxy_protocol::line_of_version_1_gives_the_client",
        "trusted_proxies": "test_proxy_protocol::untrusted_peer_is_cut_off",
        "tls_passthrough": "test_tls_passthrough::http_of_the_same_hosts_is_served_on_the_same_port",
        "tls": "test_tls::requests_of_one_connection_are_served_over_tls",
        "http3": "test_http3::request_reaches_the_origin_as_strict_http1",
        "http3_port": "test_http3::clients_are_told_the_port_that_they_reach",
        "http3_early_data": "test_http3_early_data::safe_request_of_a_known_client_comes_with_its_first_packet",
        "hooks": "test_connect_hooks::refused_connection_is_closed_counted_and_logged",
    },
    "TcpListenerConfig": {
        "name": f"{MORE}::name_of_a_tcp_listener_is_in_its_logs",
        "max_connections_per_client": f"{MORE}::tcp_connections_of_one_client_are_bounded",
        "to": "test_tcp::large_transfers_arrive_whole",
        "mode": "unit/supervisor/test_listeners::a_unix_socket_has_the_mode_that_is_asked_for",
        "address": "test_tcp::bytes_go_both_ways_and_each_side_ends_for_itself",
        "proxy_protocol": "test_tcp::server_is_told_the_client",
        "trusted_proxies": "test_tcp::server_is_told_the_client",
        "tls_passthrough": "test_tls_passthrough::rest_goes_where_the_listener_says",
        "max_connections": "test_tcp::connections_of_a_listener_are_bounded",
        "idle": "test_tcp::silence_and_life_are_bounded",
        "lifetime": "test_tcp::silence_and_life_are_bounded",
        "hooks": "test_tcp::hooks_see_and_change_chunks",
    },
    "UdpListenerConfig": {
        "max_connections_per_client": f"{MORE}::udp_sessions_of_one_client_are_bounded",
        "name": "test_udp::responses_come_back_and_an_idle_session_ends",
        "to": "test_udp::session_keeps_its_server_and_sessions_are_shared_out",
        "address": "test_udp::responses_come_back_and_an_idle_session_ends",
        "max_connections": "test_udp::sessions_are_bounded",
        "idle": "test_udp::responses_come_back_and_an_idle_session_ends",
        "hooks": "test_udp::hooks_see_datagrams",
    },
    "TlsRouteConfig": {
        "host": "test_tls_passthrough::unknown_name_gets_an_alert",
        "to": "test_tls_passthrough::name_leads_to_its_server_and_bytes_arrive_unchanged",
    },
    "TlsConfig": {
        "acme": "test_acme::gateway_orders_what_its_routes_name_and_what_a_reload_adds",
        "alpn": f"{MORE}::protocols_that_a_listener_offers",
        "certificates": "test_tls::certificate_is_that_of_the_name",
        "local": "test_tls_development::authority_is_made_once_and_signs_for_other_names",
        "policy": "test_tls::modern_policy_refuses_tls_1_2",
        "alpn_mismatch": "test_tls::mismatch_of_protocols_may_be_ignored",
        "unknown_names": "test_tls::unknown_name_may_be_refused",
        "host_mismatch": "test_tls::mismatch_of_hosts_may_be_allowed_or_refused",
        "tickets": "test_tls::tickets_may_be_turned_off",
        "client_certificates": "test_client_certificates::valid_certificate_passes_everywhere",
    },
    "CertificateConfig": {
        "certificate": "test_tls::certificate_is_that_of_the_name",
        "key": "test_tls::bad_certificates_are_refused_by_file_and_reason",
        "names": "test_tls::certificate_is_that_of_the_name",
        "ocsp": "test_tls::stapled_response_reaches_clients_that_ask",
    },
    "ClientCertificatesConfig": {
        "mode": "test_client_certificates::required_lets_nobody_in_without_a_valid_one",
        "ca": "test_client_certificates::valid_certificate_passes_everywhere",
        "crl": "test_client_certificates::missing_or_bad_certificate_is_a_400_but_on_open_routes",
    },
    "CryptographyConfig": {
        "require_fips": "test_tls_module::demand_of_the_configuration_is_refused_by_another_module"
    },
    "UpstreamConfig": {
        "pull": "test_pull::requests_of_all_workers_of_the_gateway_go_into_one_queue",
        "lenient": "test_leniency::response_against_the_grammar_passes_only_where_its_rule_is_named",
        "servers": "test_upstreams::round_robin_shares_alike",
        "protocol": "test_http2_upstream::request_and_response_keep_their_parts",
        "grpc_web": "test_grpc::browser_calls_in_bytes",
        "balance": "test_upstreams::least_conn_prefers_the_server_with_fewer_requests",
        "sticky": "test_sticky::a_cookie_hides_the_server_and_has_its_attributes",
        "hash_on": "test_balancing::same_key_goes_to_the_same_server",
        "hash_algorithm": "test_balancing::same_key_goes_to_the_same_server",
        "hash_bound": "test_balancing::hot_key_spills_over_unless_it_is_unbounded",
        "health": "test_health::server_that_fails_its_checks_is_left_out_until_it_passes_again",
        "outlier": "test_ejection::server_that_fails_in_a_row_is_ejected_and_comes_back",
        "slow_start": "test_ejection::server_that_comes_back_starts_slowly",
        "panic_threshold": "test_ejection::panic_threshold_asks_all_again",
        "keepalive": "test_upstreams::keepalive_off_opens_a_connection_for_each_request",
        "retries": "test_retries::no_retries_means_none",
        "max_connections": "test_queue::upstream_has_a_bound_for_all_its_servers",
        "queue": "test_queue::no_more_wait_than_may",
        "circuit_breaker": "test_circuit_breaker::upstream_that_fails_is_spared_then_tried",
        "deadline": "test_deadlines::client_says_how_long_it_waits_and_servers_are_told_what_is_left",
        "timeouts": "test_queue::wait_has_a_limit",
        "proxy_protocol": "test_proxy_protocol::server_gets_a_header",
        "source": "test_transparent::source_is_the_clients_address",
        "host": "test_proxy_headers::host_may_be_rewritten",
        "tls": "test_tls_upstream::server_of_a_trusted_authority_is_spoken_to",
    },
    "StickyConfig": {
        "cookie": "test_sticky::a_cookie_hides_the_server_and_has_its_attributes",
        "ttl": "unit/testing/test_sticky::cookie_is_renewed_when_half_of_its_time_is_over_and_expires",
        "secret": "test_sticky::a_configured_secret_serves_several_gateways_and_restarts",
        "balance": "test_sticky::inner_balance_chooses_the_first_server",
        "path": "test_sticky::a_cookie_hides_the_server_and_has_its_attributes",
        "secure": "test_sticky::secure_is_as_the_client_came",
        "httponly": "test_sticky::a_cookie_hides_the_server_and_has_its_attributes",
        "samesite": "test_sticky::a_cookie_hides_the_server_and_has_its_attributes",
    },
    "HealthConfig": {
        "type": "test_health_kinds::redis_is_pinged",
        "path": "test_health::checks_have_the_host_of_requests_and_may_go_elsewhere",
        "method": "test_health::what_a_healthy_response_is_can_be_said",
        "host": "test_health::checks_have_the_host_of_requests_and_may_go_elsewhere",
        "headers": "test_health::checks_have_the_host_of_requests_and_may_go_elsewhere",
        "status": "test_health::what_a_healthy_response_is_can_be_said",
        "body": "test_health::what_a_healthy_response_is_can_be_said",
        "response_headers": "test_health::what_a_healthy_response_is_can_be_said",
        "service": "test_health_kinds::grpc_services_are_asked_by_the_health_protocol",
        "send": "test_health_kinds::tcp_checks_connect_or_send_and_expect",
        "expect": "test_health_kinds::tcp_checks_connect_or_send_and_expect",
        "user": "test_health_kinds::postgresql_is_well_while_it_accepts_connections",
        "function": "test_health_kinds::functions_of_the_user_decide",
        "interval": "test_health::server_that_fails_its_checks_is_left_out_until_it_passes_again",
        "timeout": "test_health::what_a_healthy_response_is_can_be_said",
        "rise": "unit/monitor/test_judge::so_many_in_a_row_change_the_state_and_one_between_them_begins_anew",
        "fall": "unit/monitor/test_judge::so_many_in_a_row_change_the_state_and_one_between_them_begins_anew",
        "port": "test_health::checks_have_the_host_of_requests_and_may_go_elsewhere",
        "address": "test_health::checks_have_the_host_of_requests_and_may_go_elsewhere",
    },
    "ServerConfig": {
        "address": "test_addresses::server_on_ipv6_is_asked",
        "weight": "test_upstreams::weights_decide_the_shares_smoothly",
        "max_fails": "test_upstreams::max_fails_zero_is_never_left_out",
        "fail_timeout": "test_upstreams::failing_server_is_left_out_and_comes_back",
        "backup": "test_upstreams::backup_is_asked_only_when_the_others_are_out",
        "max_connections": "test_limits::connections_of_a_server_are_limited",
        "resolve": "test_discovery::name_that_is_not_to_be_resolved_is_one_server",
    },
    "ResolverConfig": {
        "servers": "test_discovery::each_address_of_a_name_is_a_server",
        "ca": "unit/discovery/test_resolving::over_tls_a_server_proves_who_it_is",
        "search": "test_discovery::short_name_is_looked_up_in_the_search_list",
        "ndots": "test_discovery::nodata_ends_the_search",
        "hosts": "unit/discovery/test_resolving::hosts_come_first_unless_they_are_not_wanted",
        "family": "unit/discovery/test_resolving::families_are_those_that_are_wanted",
        "min_ttl": "unit/discovery/test_schedule::ttl_has_a_floor_and_a_ceiling",
        "max_ttl": "unit/discovery/test_schedule::ttl_has_a_floor_and_a_ceiling",
        "timeout": "unit/discovery/test_resolving::servers_are_asked_in_turn_each_as_often_as_is_set",
        "attempts": "unit/discovery/test_resolving::servers_are_asked_in_turn_each_as_often_as_is_set",
        "keep": "unit/discovery/test_schedule::failures_keep_what_was_known_for_as_long_as_is_set",
        "hold": "test_registries::a_registry_that_lists_nothing_for_a_while_takes_no_server_away",
        "suspect_below": "unit/discovery/test_registries::a_list_that_shrinks_suspiciously_is_held_as_is_set",
        "consul": "test_registries::a_registry_that_lists_nothing_for_a_while_takes_no_server_away",
        "kubernetes": "unit/discovery/test_registries::slices_are_listed_in_pages_and_watched_from_there_on",
        "docker": "unit/discovery/test_registries::containers_are_listed_anew_at_each_event",
    },
    "ConsulConfig": {
        "url": "unit/discovery/test_registries::consul_is_asked_by_blocking_queries",
        "token": "unit/discovery/test_registries::consul_is_asked_by_blocking_queries",
        "ca": "test_registries::consul_is_asked_over_tls_and_its_certificate_is_checked",
    },
    "KubernetesConfig": {
        "url": "unit/discovery/test_registries::slices_are_listed_in_pages_and_watched_from_there_on",
        "token": "unit/discovery/test_registries::slices_are_listed_in_pages_and_watched_from_there_on",
        "ca": "unit/discovery/test_registries::a_cluster_is_believed_by_the_authority_that_is_named",
        "namespace": "unit/discovery/test_registries::a_watch_that_ended_goes_on_from_its_last_bookmark",
    },
    "DockerConfig": {
        "url": "unit/discovery/test_registries::containers_are_listed_anew_at_each_event",
    },
    "KeepaliveConfig": {
        "max_idle": "test_upstreams::keepalive_off_opens_a_connection_for_each_request",
        "idle_timeout": "test_timeouts::idle_server_connection_is_closed",
        "max_requests": "test_upstreams::server_connection_is_closed_after_its_number_of_requests",
        "ping": "test_http2_upstream::server_that_sends_no_pong_is_given_up",
    },
    "RetriesConfig": {
        "attempts": "test_retry_rules::last_response_is_passed_on_where_no_server_is_left",
        "on": "test_retry_rules::response_with_a_named_status_is_tried_again",
        "budget": "test_retry_rules::retries_at_a_time_are_within_the_budget",
        "attempt_timeout": "test_retry_rules::attempt_that_takes_too_long_is_given_up_for_another",
    },
    "QueueConfig": {
        "max_pending": "test_queue::no_more_wait_than_may",
        "target": "test_queue::overloaded_queue_sheds_and_serves_the_newest_first",
        "interval": "test_queue::overloaded_queue_sheds_and_serves_the_newest_first",
        "fair": "test_queue::clients_take_turns_where_they_share_fairly",
    },
    "CircuitBreakerConfig": {
        "error_rate": "test_circuit_breaker::share_of_failures_within_the_window_decides",
        "min_requests": "test_circuit_breaker::share_of_failures_within_the_window_decides",
        "window": "test_circuit_breaker::share_of_failures_within_the_window_decides",
        "open": "test_circuit_breaker::upstream_that_fails_is_spared_then_tried",
        "max_open": "test_circuit_breaker::failed_probe_opens_it_for_longer",
        "probes": "test_circuit_breaker::probe_that_ends_otherwise_gives_its_place_back",
        "failures": "test_circuit_breaker::what_counts_as_a_failure_is_configured",
    },
    "DeadlineConfig": {
        "header": "test_deadlines::client_says_how_long_it_waits_and_servers_are_told_what_is_left",
        "max": "test_deadlines::what_a_client_says_has_a_maximum",
        "default": "test_deadlines::request_that_says_nothing_has_the_default",
    },
    "OutlierConfig": {
        "consecutive": "test_ejection::server_that_fails_in_a_row_is_ejected_and_comes_back",
        "error_rate": "test_ejection::outlier_within_an_interval_is_ejected",
        "latency": "test_ejection::outlier_within_an_interval_is_ejected",
        "interval": "test_ejection::outlier_within_an_interval_is_ejected",
        "min_requests": "test_ejection::outlier_within_an_interval_is_ejected",
        "ejection": "test_ejection::server_that_fails_in_a_row_is_ejected_and_comes_back",
        "max_ejection": "test_ejection::refused_connections_eject",
        "max_ejected": "test_ejection::no_more_than_the_most_are_ejected",
        "failures": "test_ejection::what_counts_as_a_failure_is_configured",
    },
    "UpstreamTimeoutsConfig": {
        "connect": f"{MORE}::wait_for_a_connection_is_bounded_where_it_is_said",
        "upstream_head": f"{KIT}::wait_for_a_head_is_bounded_where_it_is_said",
        "upstream_idle": f"{KIT}::silence_within_a_body_is_bounded_where_it_is_said",
        "queue": "test_queue::wait_has_a_limit",
    },
    "UpstreamTlsConfig": {
        "verify": "test_tls_upstream::what_is_configured_to_be_fine_is_fine",
        "ca": "test_tls_upstream::server_of_a_trusted_authority_is_spoken_to",
        "server_name": "test_tls_upstream::what_is_configured_to_be_fine_is_fine",
        "pins": "test_tls_upstream::failed_handshake_is_a_502_that_says_why",
        "certificate": "test_tls_upstream::gateway_shows_its_certificate_to_servers_that_ask",
        "policy": "test_tls_upstream::failed_handshake_is_a_502_that_says_why",
    },
    "RouteConfig": {
        "plugin_sets": f"{SETS}::a_set_is_used_where_it_is_named",
        "deadline": f"{KIT}::deadline_of_a_route",
        "name": "test_hook_phases::request_tells_everything_about_itself",
        "path": "test_routing::path_decides",
        "host": "test_routing::host_decides",
        "methods": "test_routing::method_decides",
        "headers": "test_routing::header_decides",
        "query": "test_routing::query_decides",
        "when": "test_routing::function_decides",
        "priority": "test_routing::route_with_more_conditions_wins",
        "to": "test_routing::host_decides",
        "redirect": "test_fixed_responses::redirect_says_where",
        "respond": "test_fixed_responses::fixed_text_is_the_response",
        "files": "test_static_files::file_is_served_with_type_and_validators",
        "strip_prefix": "test_routing::prefix_is_changed_on_the_way",
        "replace_prefix": "test_routing::prefix_is_changed_on_the_way",
        "max_body_bytes": "test_limits::route_may_have_its_own_body_limit",
        "client_certificate": "test_client_certificates::optional_asks_and_leaves_it_to_routes",
        "timeouts": "test_timeouts::route_may_have_its_own_timeouts",
        "on_error": "test_routing::matcher_that_fails_open_counts_as_no",
        "hooks": "test_hook_phases::request_hooks_run_in_order_and_response_hooks_in_reverse",
    },
    "RedirectConfig": {
        "location": "test_fixed_responses::redirect_says_where",
        "status": "test_fixed_responses::redirect_says_where",
    },
    "RespondConfig": {
        "status": "test_fixed_responses::fixed_response_has_status_headers_and_body",
        "headers": "test_fixed_responses::fixed_response_has_status_headers_and_body",
        "body": "test_fixed_responses::fixed_response_has_status_headers_and_body",
    },
    "FilesConfig": {
        "root": "test_static_files::index_of_a_folder_is_served",
        "index": "test_static_files::index_of_a_folder_is_served",
    },
    "RouteTimeoutsConfig": {
        "send": f"{MORE}::wait_for_a_client_to_read_is_bounded_where_it_is_said",
        "connect": f"{MORE}::wait_for_a_connection_is_bounded_where_it_is_said",
        "client_body": f"{KIT}::wait_for_a_body_is_bounded_where_it_is_said",
        "queue": f"{KIT}::wait_in_the_queue_is_bounded_where_it_is_said",
        "upstream_idle": f"{KIT}::silence_within_a_body_is_bounded_where_it_is_said",
        "upstream_head": "test_timeouts::route_may_have_its_own_timeouts",
    },
    "HookConfig": {
        "function": "test_hook_times::status_prints_hooks_phases_and_plugins",
        "deadline": "test_hook_waiting::deadline_of_a_single_hook",
        "on_error": "test_hook_failures::hook_that_fails_open_is_passed_over",
    },
    "BodyHookConfig": {
        "function": f"{KIT}::function_of_a_body_hook_in_a_file",
        "deadline": "test_body_hook_failures::a_hook_that_fails_costs_its_own_request_only",
        "on_error": "test_body_hook_failures::a_hook_that_fails_costs_its_own_request_only",
        "mode": "test_request_bodies::a_whole_body_is_checked_before_a_server_sees_it",
        "limit": "test_response_bodies::a_body_over_the_limit_of_its_hook_is_502",
        "decode": "test_request_bodies::a_coded_body_is_decoded_and_coded_again",
    },
    "PluginSetConfig": {
        "plugins": f"{SETS}::a_set_is_used_where_it_is_named",
        "on": f"{SETS}::a_set_is_used_where_it_is_named",
    },
    "ConsumerGroupConfig": {
        "labels": f"{SETS}::a_set_is_used_where_it_is_named",
        "plugin_sets": f"{SETS}::a_set_is_used_where_it_is_named",
    },
    "PluginConfig": {
        "isolate": "unit/plugins/test_isolated::the_file_says_isolate_and_no_worker_loads_the_code",
        "deadline": f"{KIT}::plugins_deadline_and_failing_open",
        "on_error": f"{KIT}::plugins_deadline_and_failing_open",
        "name": f"{CONTEXT}::short_names_in_files",
        "order": f"{CONTEXT}::order_decides_then_use",
        "when": "unit/plugins/test_uses::a_condition_decides_for_each_request",
        "mode": "unit/plugins/test_uses::report_logs_and_counts_and_changes_nothing",
        "plugin": "test_plugins::ten_of_many_at_once_pass_and_the_rest_are_told_when",
        "on": "test_hook_phases::plugin_of_a_path_runs_only_there",
        "config": "test_plugins::ten_of_many_at_once_pass_and_the_rest_are_told_when",
    },
    "LimitsConfig": {
        "lenient": "test_leniency::request_passes_where_its_rule_is_named",
        "underscore_headers": "test_leniency::fields_with_underscores_are_kept_dropped_or_refused",
        "max_fetch_body_bytes": f"{KIT}::fetched_bodies_are_bounded",
        "max_head_bytes": "test_limits::head_that_is_too_large_gets_431",
        "max_header_fields": "test_limits::too_many_fields_get_431",
        "max_body_bytes": "test_limits::body_that_is_too_large_gets_413",
        "max_connections": "test_limits::connections_above_the_limit_are_turned_away",
        "max_connections_per_client": "test_limits::connections_of_one_client_are_limited",
        "max_requests_per_connection": "test_limits::connection_closes_after_its_number_of_requests",
        "max_tls_handshakes": "test_tls::handshakes_beyond_the_limit_are_not_begun",
        "max_chunk_extension_bytes": "test_limits::chunk_extensions_are_limited",
        "max_trailer_bytes": "test_limits::trailers_are_limited",
        "max_fetches": "test_fetch::too_many_fetches_are_refused",
        "max_client_hello_bytes": "test_tls_passthrough::large_hello_is_refused",
        "max_proxy_header_bytes": f"{HERE}::max_proxy_header_bytes",
        "max_buffered_body_bytes": "test_request_bodies::a_body_too_large_to_hold_is_413",
        "buffered_memory_bytes": "test_response_bodies::a_large_whole_body_lies_in_a_file_meanwhile",
        "max_hook_chunk_bytes": "test_body_hook_failures::what_went_wrong_is_in_the_log",
        "allow_half_close": (
            "test_proxy_connections::half_closed_client_gets_its_response_where_that_is_allowed"
        ),
    },
    "TimeoutsConfig": {
        "queue": f"{KIT}::wait_in_the_queue_is_bounded_where_it_is_said",
        "proxy_header": "test_proxy_protocol::header_that_does_not_come_is_not_awaited_for_ever",
        "tls_handshake": "test_tls::handshake_that_never_ends_is_cut",
        "client_head": "test_timeouts::slow_request_head_gets_408",
        "client_body": "test_timeouts::slow_request_body_gets_408",
        "client_idle": "test_timeouts::idle_client_connection_is_closed_silently",
        "send": "test_timeouts::client_that_does_not_read_is_cut",
        "connect": "test_timeouts::full_backlog_of_a_server_gets_504",
        "upstream_head": "test_timeouts::server_that_does_not_respond_gives_504",
        "upstream_idle": "test_timeouts::response_body_that_stops_cuts_the_connection",
        "fetch": "test_fetch::deadline_ends_a_fetch",
        "drain": "test_processes::graceful_stop_ends_at_the_drain_limit",
    },
    "Http2Config": {
        "enabled": f"{HERE}::http2_enabled",
        "h2c": "test_http2::http2_can_be_switched_off",
        "max_concurrent_streams": "test_http2_hostile::streams_past_the_limit_are_refused",
        "max_resets": "test_http2_hostile::rapid_reset_ends_the_connection",
        "max_control_frames": "test_http2_hostile::flood_of_frames_without_work_ends_the_connection",
        "window_bytes": f"{HERE}::window_bytes_of_http2_are_announced",
        "max_age": "test_http2_hostile::old_connection_and_one_with_its_share_get_a_goaway",
        "websocket": "test_http2::websocket_comes_by_extended_connect",
    },
    "Http3Config": {
        "max_concurrent_streams": "test_http3_hostile::streams_at_once_are_bounded",
        "max_resets": "test_http3_hostile::rapid_reset_ends_the_connection",
        "window_bytes": "test_http3_hostile::an_upload_goes_no_further_than_its_reader",
        "max_age": "test_http3_hostile::old_connection_and_one_with_its_share_get_a_goaway",
        "idle": "test_http3_hostile::idle_and_silent_connections_end",
        "websocket": "test_http3::websocket_comes_by_extended_connect",
        "congestion": "test_http3_loss::what_is_lost_is_sent_again",
        "alt_svc_max_age": "test_http3::clients_are_told_the_port_that_they_reach",
    },
    "WebSocketConfig": {
        "max_queued_bytes": f"{KIT}::bytes_that_wait_for_a_websocket_are_bounded",
        "max_message_bytes": "test_websocket_frames::limits_are_named_and_counted",
        "max_frame_bytes": "test_websocket_frames::limits_are_named_and_counted",
        "ping_interval": "test_websocket_frames::client_that_sends_no_pong_is_given_up",
        "idle": "test_websocket_frames::websocket_without_messages_ends",
        "close_timeout": "test_websocket_frames::close_without_a_reply_is_waited_for_no_longer",
    },
    "BackgroundConfig": {
        "max_tasks": f"{HERE}::bound_on_work_beside_requests",
        "threads": f"{HERE}::bound_on_work_beside_requests",
        "max_waiting_threads": f"{HERE}::bound_on_work_beside_requests",
        "processes": "test_background::jobs_of_all_workers_share_their_bound",
        "max_waiting_jobs": "test_background::jobs_of_all_workers_share_their_bound",
        "job_timeout": f"{HERE}::bound_on_work_beside_requests",
        "max_job_bytes": f"{HERE}::bound_on_work_beside_requests",
        "job_nice": f"{HERE}::bound_on_work_beside_requests",
    },
    "ForwardingConfig": {
        "identity_fields": "test_leniency::no_spelling_of_a_forwarding_or_identity_field_reaches_a_server",
        "x_forwarded": "test_proxy_headers::x_forwarded_fields_are_added",
        "forwarded": "test_proxy_headers::forwarded_says_who_asked_how",
        "via": "test_proxy_headers::via_is_added_both_ways",
        "name": "test_proxy_headers::via_is_added_both_ways",
        "client_certificate": "test_client_certificates::servers_are_told_of_the_certificate",
    },
    "AccessLogConfig": {
        "format": "test_access_log::custom_format_is_followed",
        "to": "test_access_log::log_goes_to_a_file_and_is_reopened",
        "mask_query": "test_access_log::secrets_in_queries_are_masked",
        "flush": "test_access_log::lines_in_the_buffer_are_written_at_the_end",
        "buffer_bytes": f"{HERE}::buffer_bytes_of_the_access_log",
    },
    "TunnelsConfig": {
        "tokens": "test_tunnels::a_client_without_the_right_is_told_so",
        "wait": "test_tunnels::requests_wait_for_a_tunnel_that_has_just_been_lost",
        "max_tunnels": "test_tunnels::more_tunnels_than_allowed_are_refused",
    },
    "PullConfig": {
        "tokens": "test_pull::worker_with_a_wrong_token_ends_and_says_why",
        "queue": "test_pull::full_queue_and_long_waits_are_refused_and_counted",
        "wait": "test_pull::full_queue_and_long_waits_are_refused_and_counted",
        "fair_by": "unit/dispatch/test_dispatching::priorities_and_callers_come_from_fields",
        "priority": "unit/dispatch/test_dispatching::priorities_and_callers_come_from_fields",
        "at_least_once": "unit/dispatch/test_dispatching::lost_worker_hands_on_what_may_run_twice",
        "attempts": "unit/dispatch/test_dispatching::request_is_not_handed_out_for_ever",
        "ping": "test_pull::worker_that_has_fallen_silent_is_lost",
        "status_path": "test_pull::requests_of_all_workers_of_the_gateway_go_into_one_queue",
    },
    "TunnelTokenConfig": {
        "token": "test_tunnels::a_token_that_is_taken_back_ends_its_tunnels",
        "expose": "test_tunnels::a_client_without_the_right_is_told_so",
        "name": "unit/tunnel/test_settings::logs_call_a_holder_by_its_name",
    },
    "LogTargetConfig": {
        "to": "test_log_targets::lines_of_every_worker_come_over_tcp",
        "headers": "test_log_targets::batches_come_as_arrays_over_http",
        "labels": "test_log_targets::loki_gets_a_stream_with_labels_and_times",
        "ca": "test_log_targets::lines_come_over_tls_if_the_certificate_is_trusted",
        "batch": "test_log_targets::batches_come_as_arrays_over_http",
        "batch_bytes": "test_log_targets::a_batch_is_sent_when_it_has_its_bytes",
        "flush": "test_log_targets::the_first_request_is_sent_and_so_is_the_last_one",
        "queue": "test_log_targets::a_target_that_is_away_costs_bounded_memory_and_one_warning",
        "queue_bytes": "unit/shipping/test_delivery::what_waits_is_bounded_in_lines_and_in_bytes",
        "timeout": "unit/shipping/test_delivery::a_send_that_takes_too_long_is_cut_off",
    },
    "ErrorLogConfig": {
        "level": f"{HERE}::error_log_to_a_file_at_a_level",
        "format": "test_access_log::error_log_is_json_when_asked",
        "to": f"{HERE}::error_log_to_a_file_at_a_level",
    },
    "TracingConfig": {
        "otlp": "test_tracing::a_request_is_one_trace_from_the_client_to_the_server",
        "sample": "test_tracing::servers_are_told_the_decision",
        "slow": "test_tracing::errors_and_slow_requests_are_recorded_though_nobody_asked",
        "parent_based": "test_tracing::servers_are_told_the_decision",
        "service": "test_tracing::a_request_is_one_trace_from_the_client_to_the_server",
    },
    "MetricsConfig": {"listen": "test_metrics::metrics_move_with_their_address"},
    "WatchdogConfig": {
        "log": "test_hook_times::watchdog_logs_the_stack_of_what_holds_the_loop",
        "kill": "test_blocked_workers::a_blocked_worker_is_told_with_its_stack_and_replaced",
    },
}
HOOKS = {
    "HooksConfig": "test_every_phase_fails",
    "RouteHooksConfig": "test_every_phase_fails",
    "ListenerHooksConfig": "test_connect_hooks",
    "StreamHooksConfig": "test_tcp",
}
"""Tables of hooks have a key for each phase: `test_registered_runs.py` goes through them all."""
NOT_YET: set[str] = set()


def keys(model: type[BaseModel] = GatewayConfig) -> set[str]:
    """Every key of the model and of all tables in it."""
    found, pending = {f"{model.__name__}.{name}" for name in model.model_fields}, []
    pending = [field.annotation for field in model.model_fields.values()]
    while pending:
        one = pending.pop()
        pending += get_args(one)
        if isinstance(one, type) and issubclass(one, Settings):
            found |= keys(one)
    return found


def _path(file: str) -> Path:
    return TESTS / f"{file if '/' in file else f'e2e/{file}'}.py"


def test_every_key_has_a_test_that_sees_its_effect() -> None:
    known = {f"{table}.{key}" for table, of in SEEN.items() for key in of}
    wanted = {key for key in keys() if key.partition(".")[0] not in HOOKS}
    assert wanted - known - NOT_YET == set(), "a setting without a test of its effect"
    assert (known | NOT_YET) - wanted == set(), "there is no such setting any more"
    assert known & NOT_YET == set()


def test_the_tests_that_are_named_exist() -> None:
    for name in sorted({test for of in SEEN.values() for test in of.values()}):
        file, _, function = name.partition("::")
        assert re.search(rf"^(async )?def test_{function}\(", _path(file).read_text(), re.M), name
    for file in HOOKS.values():
        assert _path(file).exists()
