"""The plugins that come with the gateway, one file each; they use only what every plugin may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api_discovery import ApiDiscovery
    from .aws_sigv4 import AwsSigv4
    from .azure_functions import AzureFunctions
    from .batch_requests import BatchRequests
    from .body_transformer import BodyTransformer
    from .bot_detection import BotDetection
    from .canary import Canary
    from .circuit_breaker import CircuitBreaker
    from .compression import Compression
    from .concurrency_limit import ConcurrencyLimit
    from .cors import Cors
    from .csrf import Csrf
    from .decompression import Decompression
    from .degraphql import Degraphql
    from .edge_side_includes import EdgeSideIncludes
    from .error_pages import ErrorPages
    from .ext_authz import ExtAuthz
    from .ext_proc import ExtProc
    from .fault_injection import FaultInjection
    from .follow_redirects import FollowRedirects
    from .forward_auth import ForwardAuth
    from .google_functions import GoogleFunctions
    from .graphql_limits import GraphqlLimits
    from .grpc_transcode import GrpcTranscode
    from .har_capture import HarCapture
    from .headers import Headers
    from .honeypot import Honeypot
    from .html_rewrite import HtmlRewrite
    from .image_resize import ImageResize
    from .ip_restriction import IpRestriction
    from .isolated import Isolated
    from .jq import Jq
    from .json_patch import JsonPatch
    from .json_threat_protection import JsonThreatProtection
    from .jsonpath import Jsonpath
    from .kafka_rest import KafkaRest
    from .key_auth import KeyAuth
    from .load_shedding import LoadShedding
    from .maintenance import Maintenance
    from .mirror import Mirror
    from .mocking import Mocking
    from .mqtt_routing import MqttRouting
    from .opa import Opa
    from .precompressed import Precompressed
    from .proxy_rewrite import ProxyRewrite
    from .quota import Quota
    from .rate_limit import RateLimit
    from .redirect import Redirect
    from .referer_restriction import RefererRestriction
    from .replay_protection import ReplayProtection
    from .request_coalescing import RequestCoalescing
    from .request_id import RequestId
    from .request_size import RequestSize
    from .request_validation import RequestValidation
    from .response_faults import ResponseFaults
    from .response_rewrite import ResponseRewrite
    from .response_size import ResponseSize
    from .response_validation import ResponseValidation
    from .security_headers import SecurityHeaders
    from .shadow import Shadow
    from .signed_urls import SignedUrls
    from .slo_alert import SloAlert
    from .sub_filter import SubFilter
    from .tarpit import Tarpit
    from .traffic_split import TrafficSplit
    from .ua_restriction import UaRestriction
    from .upload_scan import UploadScan
    from .uri_blocker import UriBlocker
    from .waf import Waf
    from .waiting_room import WaitingRoom
    from .webhooks import Webhooks
    from .xml_threat_protection import XmlThreatProtection

__all__ = [
    "ApiDiscovery",
    "AwsSigv4",
    "AzureFunctions",
    "BatchRequests",
    "BodyTransformer",
    "BotDetection",
    "Canary",
    "CircuitBreaker",
    "Compression",
    "ConcurrencyLimit",
    "Cors",
    "Csrf",
    "Decompression",
    "Degraphql",
    "EdgeSideIncludes",
    "ErrorPages",
    "ExtAuthz",
    "ExtProc",
    "FaultInjection",
    "FollowRedirects",
    "ForwardAuth",
    "GoogleFunctions",
    "GraphqlLimits",
    "GrpcTranscode",
    "HarCapture",
    "Headers",
    "Honeypot",
    "HtmlRewrite",
    "ImageResize",
    "IpRestriction",
    "Isolated",
    "Jq",
    "JsonPatch",
    "JsonThreatProtection",
    "Jsonpath",
    "KafkaRest",
    "KeyAuth",
    "LoadShedding",
    "Maintenance",
    "Mirror",
    "Mocking",
    "MqttRouting",
    "Opa",
    "Precompressed",
    "ProxyRewrite",
    "Quota",
    "RateLimit",
    "Redirect",
    "RefererRestriction",
    "ReplayProtection",
    "RequestCoalescing",
    "RequestId",
    "RequestSize",
    "RequestValidation",
    "ResponseFaults",
    "ResponseRewrite",
    "ResponseSize",
    "ResponseValidation",
    "SecurityHeaders",
    "Shadow",
    "SignedUrls",
    "SloAlert",
    "SubFilter",
    "Tarpit",
    "TrafficSplit",
    "UaRestriction",
    "UploadScan",
    "UriBlocker",
    "Waf",
    "WaitingRoom",
    "Webhooks",
    "XmlThreatProtection",
]

BUILT_IN = {
    "api-discovery": "headgate.plugins.api_discovery:ApiDiscovery",
    "aws-sigv4": "headgate.plugins.aws_sigv4:AwsSigv4",
    "azure-functions": "headgate.plugins.azure_functions:AzureFunctions",
    "batch-requests": "headgate.plugins.batch_requests:BatchRequests",
    "body-transformer": "headgate.plugins.body_transformer:BodyTransformer",
    "bot-detection": "headgate.plugins.bot_detection:BotDetection",
    "canary": "headgate.plugins.canary:Canary",
    "circuit-breaker": "headgate.plugins.circuit_breaker:CircuitBreaker",
    "compression": "headgate.plugins.compression:Compression",
    "concurrency-limit": "headgate.plugins.concurrency_limit:ConcurrencyLimit",
    "cors": "headgate.plugins.cors:Cors",
    "csrf": "headgate.plugins.csrf:Csrf",
    "decompression": "headgate.plugins.decompression:Decompression",
    "degraphql": "headgate.plugins.degraphql:Degraphql",
    "edge-side-includes": "headgate.plugins.edge_side_includes:EdgeSideIncludes",
    "error-pages": "headgate.plugins.error_pages:ErrorPages",
    "ext-authz": "headgate.plugins.ext_authz:ExtAuthz",
    "ext-proc": "headgate.plugins.ext_proc:ExtProc",
    "fault-injection": "headgate.plugins.fault_injection:FaultInjection",
    "follow-redirects": "headgate.plugins.follow_redirects:FollowRedirects",
    "forward-auth": "headgate.plugins.forward_auth:ForwardAuth",
    "google-functions": "headgate.plugins.google_functions:GoogleFunctions",
    "graphql-limits": "headgate.plugins.graphql_limits:GraphqlLimits",
    "grpc-transcode": "headgate.plugins.grpc_transcode:GrpcTranscode",
    "har-capture": "headgate.plugins.har_capture:HarCapture",
    "headers": "headgate.plugins.headers:Headers",
    "honeypot": "headgate.plugins.honeypot:Honeypot",
    "html-rewrite": "headgate.plugins.html_rewrite:HtmlRewrite",
    "image-resize": "headgate.plugins.image_resize:ImageResize",
    "ip-restriction": "headgate.plugins.ip_restriction:IpRestriction",
    "isolated": "headgate.plugins.isolated:Isolated",
    "jq": "headgate.plugins.jq:Jq",
    "json-patch": "headgate.plugins.json_patch:JsonPatch",
    "json-threat-protection": "headgate.plugins.json_threat_protection:JsonThreatProtection",
    "jsonpath": "headgate.plugins.jsonpath:Jsonpath",
    "kafka-rest": "headgate.plugins.kafka_rest:KafkaRest",
    "key-auth": "headgate.plugins.key_auth:KeyAuth",
    "load-shedding": "headgate.plugins.load_shedding:LoadShedding",
    "maintenance": "headgate.plugins.maintenance:Maintenance",
    "mirror": "headgate.plugins.mirror:Mirror",
    "mocking": "headgate.plugins.mocking:Mocking",
    "mqtt-routing": "headgate.plugins.mqtt_routing:MqttRouting",
    "opa": "headgate.plugins.opa:Opa",
    "precompressed": "headgate.plugins.precompressed:Precompressed",
    "proxy-rewrite": "headgate.plugins.proxy_rewrite:ProxyRewrite",
    "quota": "headgate.plugins.quota:Quota",
    "rate-limit": "headgate.plugins.rate_limit:RateLimit",
    "redirect": "headgate.plugins.redirect:Redirect",
    "referer-restriction": "headgate.plugins.referer_restriction:RefererRestriction",
    "replay-protection": "headgate.plugins.replay_protection:ReplayProtection",
    "request-coalescing": "headgate.plugins.request_coalescing:RequestCoalescing",
    "request-id": "headgate.plugins.request_id:RequestId",
    "request-size": "headgate.plugins.request_size:RequestSize",
    "request-validation": "headgate.plugins.request_validation:RequestValidation",
    "response-faults": "headgate.plugins.response_faults:ResponseFaults",
    "response-rewrite": "headgate.plugins.response_rewrite:ResponseRewrite",
    "response-size": "headgate.plugins.response_size:ResponseSize",
    "response-validation": "headgate.plugins.response_validation:ResponseValidation",
    "security-headers": "headgate.plugins.security_headers:SecurityHeaders",
    "shadow": "headgate.plugins.shadow:Shadow",
    "signed-urls": "headgate.plugins.signed_urls:SignedUrls",
    "slo-alert": "headgate.plugins.slo_alert:SloAlert",
    "sub-filter": "headgate.plugins.sub_filter:SubFilter",
    "tarpit": "headgate.plugins.tarpit:Tarpit",
    "traffic-split": "headgate.plugins.traffic_split:TrafficSplit",
    "ua-restriction": "headgate.plugins.ua_restriction:UaRestriction",
    "upload-scan": "headgate.plugins.upload_scan:UploadScan",
    "uri-blocker": "headgate.plugins.uri_blocker:UriBlocker",
    "waf": "headgate.plugins.waf:Waf",
    "waiting-room": "headgate.plugins.waiting_room:WaitingRoom",
    "webhooks": "headgate.plugins.webhooks:Webhooks",
    "xml-threat-protection": "headgate.plugins.xml_threat_protection:XmlThreatProtection",
}
"""Short names, as `plugin: key-auth` in a file, and what they name."""

_MODULES = {
    reference.rpartition(":")[2]: reference.partition(":")[0].rpartition(".")[2]
    for reference in BUILT_IN.values()
}


def __getattr__(name: str) -> Any:
    """Loads what is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module `headgate.plugins` has no attribute `{name}`")
    import importlib

    return getattr(importlib.import_module(f"headgate.plugins.{_MODULES[name]}"), name)
