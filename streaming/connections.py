"""How every client reaches Kafka: one set of settings, in the words of each client library.

What is inconsistent is an error here, that names the setting, and not a time-out later. Nothing connects here.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from streaming.errors import InputError
from streaming.settings import BrokerSettings, Settings

if TYPE_CHECKING:
    from faust.auth import Credentials


RECONNECT_MS = 1000
"""How long a client of kafka-python waits at most before it looks for its broker again, as Java's do. Of itself 30 s:
after a minute without a broker a page would go without predictions for half a minute more."""


class _Password(str):
    """Text whose repr hides it: client libraries log their settings."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def kafka_python(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `KafkaProducer`, `KafkaConsumer` and `KafkaAdminClient`.

    Raises:
        InputError: security settings are incomplete, contradict each other, or name a file of no use.
    """
    return _arguments(settings) | {"reconnect_backoff_max_ms": RECONNECT_MS}


def aiokafka(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `AIOKafkaProducer` and `AIOKafkaConsumer`.

    Raises:
        InputError: as `kafka_python`.
    """
    return _arguments(settings)


def faust_credentials(settings: Settings) -> Credentials | None:
    """What Faust takes as `broker_credentials`; None: plain text.

    Raises:
        InputError: as `kafka_python`.
    """
    from faust.auth import SASLCredentials, SSLCredentials  # noqa: PLC0415 - 1 s; only workers need it

    check(settings.broker)
    broker, context = settings.broker, ssl_context(settings)
    if broker.security_protocol.startswith("SASL_"):
        assert broker.password is not None
        return SASLCredentials(
            username=broker.username,
            password=_Password(broker.password.get_secret_value()),
            ssl_context=context,
            mechanism=broker.sasl_mechanism,
        )
    return None if context is None else SSLCredentials(context)


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS with the brokers' names and certificates checked; None where the protocol has no TLS.

    Raises:
        InputError: a file is missing or is no PEM, or the key does not fit the certificate.
    """
    broker = settings.broker
    if not broker.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise InputError(
            f"BEFOREHAND_BROKER__CA_FILE: {broker.ca_file} cannot be used ({exc}); give a PEM file of certificates"
        ) from exc
    if broker.cert_file:
        try:
            context.load_cert_chain(broker.cert_file, broker.key_file, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as exc:
            raise InputError(
                f"BEFOREHAND_BROKER__CERT_FILE, BEFOREHAND_BROKER__KEY_FILE: {broker.cert_file} and {broker.key_file}"
                f" cannot be used ({exc}); give PEM files of a certificate and its own key without a password"
            ) from exc
    return context


def check(broker: BrokerSettings) -> None:
    """Whether the security settings say one thing.

    Raises:
        InputError: naming the setting that is missing, or that would be ignored.
    """
    protocol = broker.security_protocol
    sasl: dict[str, object] = {
        "SASL_MECHANISM": broker.sasl_mechanism,
        "USERNAME": broker.username,
        "PASSWORD": broker.password,
    }
    tls: dict[str, object] = {
        "CA_FILE": broker.ca_file,
        "CERT_FILE": broker.cert_file,
        "KEY_FILE": broker.key_file,
    }
    for name, value in sasl.items():
        if protocol.startswith("SASL_") and not value:
            raise InputError(
                f"BEFOREHAND_BROKER__{name} is not set, expected a value with security protocol {protocol}; set it, or"
                " change BEFOREHAND_BROKER__SECURITY_PROTOCOL"
            )
    used = (sasl if protocol.startswith("SASL_") else {}) | (tls if protocol.endswith("SSL") else {})
    for name, value in (sasl | tls).items():
        if value and name not in used:
            raise InputError(
                f"BEFOREHAND_BROKER__{name} is set, but security protocol {protocol} would ignore it; unset it, or set"
                " BEFOREHAND_BROKER__SECURITY_PROTOCOL to SASL_SSL, or to SSL or SASL_PLAINTEXT for one of both"
            )
    if broker.key_file and not broker.cert_file:
        raise InputError(
            "BEFOREHAND_BROKER__CERT_FILE is not set, expected the certificate of BEFOREHAND_BROKER__KEY_FILE; set"
            " both or none"
        )


def _arguments(settings: Settings) -> dict[str, Any]:
    """aiokafka began as a port of kafka-python: for a connection both use the same names."""
    check(settings.broker)
    broker = settings.broker
    arguments: dict[str, Any] = {
        "bootstrap_servers": list(settings.brokers),
        "security_protocol": broker.security_protocol,
        "ssl_context": ssl_context(settings),
    }
    if broker.security_protocol.startswith("SASL_"):
        assert broker.password is not None
        arguments |= {
            "sasl_mechanism": broker.sasl_mechanism,
            "sasl_plain_username": broker.username,
            "sasl_plain_password": _Password(broker.password.get_secret_value()),
        }
    return arguments


def _no_password() -> str:
    """OpenSSL would ask at the terminal; a service has none."""
    raise ValueError("the key is encrypted")
