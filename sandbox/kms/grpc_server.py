"""The service over gRPC with TLS, as Google offers it."""

from collections.abc import Mapping
from concurrent import futures
from typing import Any
from urllib.parse import parse_qsl

import grpc
from google.cloud.kms_v1 import types
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sandbox.kms import names
from sandbox.kms.refusals import Refusal, misrouted
from sandbox.kms.service import RPCS, Rpc, Service

SERVICE_NAME = "google.cloud.kms.v1.KeyManagementService"
DOMAIN = "cloudkms.googleapis.com"
CALLS_AT_ONCE = 128
GLOBAL = "global"
TO_GRPC: Any = rpc_status.to_status


def serve(service: Service, port: int, certificate: bytes, private_key: bytes) -> tuple[grpc.Server, int]:
    """Start to listen on loopback, port 0 for any; returns the server and its port."""
    server = grpc.server(futures.ThreadPoolExecutor(CALLS_AT_ONCE), options=[("grpc.so_reuseport", 0)])
    handlers = {name: _handler(service, name) for name in RPCS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))
    credentials = grpc.ssl_server_credentials([(private_key, certificate)])
    bound = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    server.start()
    return server, bound


def _handler(service: Service, name: str) -> Any:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        try:
            refuse_misrouted(RPCS[name], request, headers)
            return service.call(name, request, headers, context.is_active)
        except Refusal as refusal:
            context.abort_with_status(TO_GRPC(_status(refusal)))

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=getattr(types, f"{name}Request").deserialize,
        response_serializer=lambda message: type(message).serialize(message),
    )


def refuse_misrouted(rpc: Rpc, request: Any, headers: Mapping[str, str]) -> None:
    """Send on to the resource's location only what the header says belongs there: https://cloud.google.com/kms/docs/grpc

    Raises:
        Refusal: the header is missing, or names another location; without it a call goes to the global one.

    """
    wanted = names.location(rpc.acts_on(request))
    routing = dict(parse_qsl(headers.get("x-goog-request-params", "")))
    sent_to = names.location(routing.get(rpc.resource, "")) or GLOBAL
    if wanted and wanted != sent_to:
        raise misrouted(wanted, sent_to)


def _status(refusal: Refusal) -> status_pb2.Status:
    """A refusal as google.rpc.Status, with ErrorInfo where there is a reason."""
    status = status_pb2.Status(code=grpc.StatusCode[refusal.code].value[0], message=refusal.message)
    if refusal.reason:
        info = error_details_pb2.ErrorInfo(
            reason=refusal.reason, domain=DOMAIN, metadata=dict(refusal.metadata)
        )
        status.details.add().Pack(info)
    return status
