"""The language of GB smart metering: GBCS messages read, written, protected and checked, with no input or output.

Bytes, keys and times come in as arguments; values and bytes go out. Nothing here opens a socket or a file, reads a
clock or draws a random number. The modules, from the bytes upwards:

* ``axdr``, ``dlms``: DLMS COSEM payloads; ``zcl``, ``gbz``: Zigbee payloads; ``der``, ``asn1``: ASN.1 payloads
* ``payload``: any of the three, told apart by rule; ``payload_words``: a payload as lines to read
* ``message``: the envelope around a payload; ``blocks``: a message in pieces
* ``keys``, ``protect``, ``acceptance``, ``certificates``, ``utrn``, ``catalogue``: protection and meaning
"""
