"""What a Cortex-M writes to its trace ports, from the bytes that leave pin SWO.

Source: Armv7-M Architecture Reference Manual (Arm DDI 0403E), appendix D4, "Debug ITM and DWT
packet protocol". A packet is a header and up to six bytes. The formatter of the trace port must be
off.
"""

from __future__ import annotations

from typing import Final

PORTS: Final = 32
_SYNC_ZEROS: Final = 5  # 47 bits of 0 or more, then a 1: at least five bytes 00 before 80
_SYNC_END: Final = 0x80
_OVERFLOW: Final = 0x70
_GLOBAL_TIMESTAMP_2: Final = 0xB4
_SIZES: Final = {1: 1, 2: 2, 3: 4}  # the two low bits of a source packet's header


class ItmDecoder:
    """Takes the stream apart. Whatever the bytes are, it goes on; lost bytes may garble what
    follows up to the next synchronisation packet, which begins anew wherever it comes."""

    def __init__(self) -> None:
        self.overflows = 0  # packets that say that something was lost
        self._zeros = 0  # bytes 00 in a row
        self._port = -1  # of the payload that is being read, -1 where it is of no stimulus port
        self._payload = 0  # bytes of it that are still to come
        self._continued = 0  # bytes that may follow a protocol packet, while bit 7 is set
        self._held = bytearray()

    def feed(self, received: bytes) -> dict[int, bytes]:
        """What ``received`` completes: port → the bytes written to it, in order."""
        written: dict[int, bytearray] = {}
        for byte in received:
            self._byte(byte, written)
        return {port: bytes(content) for port, content in written.items()}

    def _byte(self, byte: int, written: dict[int, bytearray]) -> None:
        zeros, self._zeros = self._zeros, self._zeros + 1 if byte == 0 else 0
        if byte == _SYNC_END and zeros >= _SYNC_ZEROS:
            self._payload = self._continued = 0
            return
        if self._payload:
            self._take(byte, written)
        elif self._continued:
            self._continued = self._continued - 1 if byte & 0x80 else 0
        elif byte & 3:
            self._begin_source(byte)
        else:
            self._begin_protocol(byte)

    def _begin_source(self, header: int) -> None:
        """Software (a stimulus port) or hardware (the DWT's), which is skipped."""
        self._payload = _SIZES[header & 3]
        self._port = -1 if header & 4 else header >> 3
        self._held.clear()

    def _begin_protocol(self, header: int) -> None:
        """Overflow, timestamps, extensions and what is reserved: skipped, with what follows."""
        if header == _OVERFLOW:
            self.overflows += 1
        elif header & 0x80:
            self._continued = 6 if header == _GLOBAL_TIMESTAMP_2 else 4

    def _take(self, byte: int, written: dict[int, bytearray]) -> None:
        self._held.append(byte)
        self._payload -= 1
        if self._payload == 0 and self._port >= 0:
            written.setdefault(self._port, bytearray()).extend(self._held)
