"""Tracks of devices: as a GeoJSON Feature, as GPX 1.1 and as KML.

GPX and KML are written with the XML writer of the standard library while the reports are read, because the libraries
for these formats build the whole document in memory first.
"""

import io
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from app.api.rendering import instant
from app.api.report_streams import Format, Slices
from app.reports import ReportRecord

GPX = "application/gpx+xml"
KML = "application/vnd.google-earth.kml+xml"

_GPX_NAMESPACE = "http://www.topografix.com/GPX/1/1"
_KML_NAMESPACE = "http://www.opengis.net/kml/2.2"
_GOOGLE_NAMESPACE = "http://www.google.com/kml/ext/2.2"
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FEWEST_OF_A_LINE = 2


def to_track_feature(track: Sequence[ReportRecord], name: str) -> dict[str, Any]:
    """Write a track as a GeoJSON Feature: a LineString, whose positions have their times in `coordinateProperties`.

    One fix is a Point, because a LineString has at least two positions (RFC 7946, section 3.1.4).
    """
    positions = [[report.longitude, report.latitude] for report in track]
    geometry: dict[str, Any] | None = None
    if len(positions) >= _FEWEST_OF_A_LINE:
        geometry = {"type": "LineString", "coordinates": positions}
    elif positions:
        geometry = {"type": "Point", "coordinates": positions[0]}
    by_position = {
        "times": [instant(report.at) for report in track],
        "accuracies": [report.accuracy_m for report in track],
        "sources": [report.source or "unknown" for report in track],
    }
    return {"type": "Feature", "geometry": geometry, "properties": {"name": name, "coordinateProperties": by_position}}


def formats_of(name: str) -> dict[str, Format]:
    """List the file formats of the track of a device, by media type.

    Args:
        name: What the device is called in the file.
    """

    async def write_gpx(slices: Slices) -> AsyncGenerator[bytes, None]:
        xml = _Xml()
        xml.open("gpx", version="1.1", creator="location-gateway", xmlns=_GPX_NAMESPACE)
        xml.open("trk")
        xml.leaf("name", name)
        xml.open("trkseg")
        async for reports in slices:
            for report in reports:
                _add_gpx_point(xml, report)
            yield xml.take()
        xml.close("trkseg", "trk", "gpx")
        yield xml.take()

    async def write_kml(slices: Slices) -> AsyncGenerator[bytes, None]:
        xml = _Xml()
        xml.open("kml", **{"xmlns": _KML_NAMESPACE, "xmlns:gx": _GOOGLE_NAMESPACE})
        xml.open("Document")
        xml.leaf("name", name)
        xml.open("Placemark")
        xml.leaf("name", name)
        xml.open("gx:MultiTrack")
        xml.leaf("gx:interpolate", "1")
        async for reports in slices:
            _add_kml_track(xml, reports)
            yield xml.take()
        xml.close("gx:MultiTrack", "Placemark", "Document", "kml")
        yield xml.take()

    return {
        GPX: Format(media_type=GPX, file_name="track.gpx", write=write_gpx),
        KML: Format(media_type=KML, file_name="track.kml", write=write_kml),
    }


def _add_gpx_point(xml: "_Xml", report: ReportRecord) -> None:
    xml.open("trkpt", lat=f"{report.latitude}", lon=f"{report.longitude}")
    xml.leaf("time", instant(report.at))
    if report.accuracy_m is not None:
        # GPX has dilutions of precision, which are no radius in metres.
        xml.leaf("cmt", f"accuracy {report.accuracy_m:g} m")
    xml.leaf("src", f"{report.provider}, {report.source or 'unknown'}")
    xml.close("trkpt")


def _add_kml_track(xml: "_Xml", reports: Sequence[ReportRecord]) -> None:
    """Write a part of the track: within one, all times stand before all positions, so long ones come in parts."""
    xml.open("gx:Track")
    for report in reports:
        xml.leaf("when", instant(report.at))
    for report in reports:
        xml.leaf("gx:coord", f"{report.longitude} {report.latitude} 0")
    xml.close("gx:Track")


class _Xml:
    """XML that is taken away while it is written."""

    def __init__(self) -> None:
        self._written = io.BytesIO()
        self._generator = XMLGenerator(self._written, "UTF-8", short_empty_elements=True)
        self._generator.startDocument()

    def open(self, element: str, **attributes: str) -> None:
        """Begin an element."""
        self._generator.startElement(element, AttributesImpl(attributes))

    def leaf(self, element: str, text: str) -> None:
        """Write an element with a text, without the characters that XML cannot hold."""
        self.open(element)
        self._generator.characters(_NOT_IN_XML.sub("", text))
        self._generator.endElement(element)

    def close(self, *elements: str) -> None:
        """End elements, the innermost first."""
        for element in elements:
            self._generator.endElement(element)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        written = self._written.getvalue()
        self._written.seek(0)
        self._written.truncate()
        return written
