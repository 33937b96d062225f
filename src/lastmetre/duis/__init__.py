"""The DCC User Interface: the XML documents that a supplier and the DCC exchange, and what they mean in GBCS.

A pure room: bytes and values in, bytes and values out. Trusted values come through one door,
``documents.read_signed_request`` and ``read_signed_response``.

* ``documents``, ``signature``, ``xml``, ``identifiers``: the documents themselves
* ``catalogue``: the 129 service requests as data
* ``compose``: requests made from values
* ``transform``: the GBCS message that the DCC builds from a request
* ``correlate``: whether a Pre-Command, or any Command before its MAC, says what was asked
* ``conformance``: the transform held against published pairs of requests and messages
* ``skeletons``: a commented example of each request
"""
