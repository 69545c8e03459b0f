"""What a gateway serves to scrapers, read by Prometheus's own parsers."""

from dataclasses import dataclass

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus
from prometheus_client.samples import Sample

from .client import RawResponse, fetch
from .gateway import RunningGateway
from .net import Address

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@dataclass
class Scrape:
    """The numbers of one scrape."""

    text: str
    samples: list[Sample]

    def value(self, name: str, /, **labels: str) -> float:
        """The sum of the samples of that name with these labels; 0 if there is none."""
        return sum(one.value for one in self.all(name, **labels))

    def all(self, name: str, /, **labels: str) -> list[Sample]:
        """The samples of that name with these labels."""
        return [one for one in self.samples if one.name == name and labels.items() <= one.labels.items()]


def get(address: Address, path: str = "/metrics", **headers: str) -> RawResponse:
    """What the server for scrapers replies."""
    return fetch(address, path, fields=list(headers.items()))


def scrape(gateway: RunningGateway, address: Address, *, openmetrics: bool = False) -> Scrape:
    """All numbers, now: past the second for which a text is kept."""
    response = get(address, Accept=OPENMETRICS if openmetrics else "text/plain")
    assert response.status == 200, response
    return read(response.body.decode(), openmetrics=openmetrics)


def read(text: str, *, openmetrics: bool = False) -> Scrape:
    """The numbers of a text."""
    parse = parse_openmetrics if openmetrics else parse_prometheus
    return Scrape(text, [sample for family in parse(text) for sample in family.samples])
