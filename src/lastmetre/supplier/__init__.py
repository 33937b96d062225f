"""The supplier's delivery service: takes orders, picks roads, never sends twice, never loses, can say what happened.

- ``orders`` the states and their one table, ``counters`` the lanes, ``roads`` which way, ``services`` what can be asked
- ``preparation`` the documents to and from the DCC, ``responses`` what proves that a Command was done
- ``desk`` takes orders, ``worker`` moves them on, ``delivery`` hands Commands to PPMID agents and takes what comes back
- ``policy`` road policies as data, ``field`` packs for engineers, ``read_back`` what a meter's log proves
- ``queue_memory`` a queue without a database, ``drawing`` the states as a drawing
- ``class_rules`` which service may use which road on what terms
- ``supersession`` Commands overtaken by a higher counter, ``clock`` a time that never goes back
- ``audit`` the hash chain, ``ports`` what is needed from outside, ``store_memory`` a store without a database

Events it tells; nearly all carry ``order_id`` and ``device_id``, those of the worker ``service`` and ``detail``:

- the order: ``order_accepted`` (``roads``, ``deadline_at``, ``utrn``), ``order_waits`` (``detail``: why),
  ``road_chosen``, ``counter_taken``, ``order_prepared``, ``order_made_again``, ``order_sealed`` (``message``),
  ``order_cancelled``, and its end or alarm:
  ``order_confirmed``, ``order_confirmed_late``, ``order_refused_by_device``, ``order_expired_unsent``,
  ``order_failed_before_sealing``, ``order_unknown``
- from road to road: ``road_added``, ``no_other_road`` (``detail``), ``command_copied``; ``read_back`` (``read_by``),
  ``response_for_the_dcc``, ``order_confirmed_by_dcc``; ``code_entered``; ``pack_made``, ``field_command_failed``
- approved: ``order_approved`` (``approved_by``)
- overtaken: ``supersession_started`` (``superseder_id``), ``order_superseded``, ``supersession_failed`` (``detail``)
- on the road: ``command_handed_on`` and ``command_handed_on_again`` (``message``), ``command_taken_by_agent``,
  ``command_taken_by_tunnel``, ``agent_gave_up``, ``command_taken_by_dcc``, ``command_refused_by_dcc``, ``dcc_gave_up``
- back: ``response_received`` (``road``, ``message``), ``response_verified`` (``done``, ``words``), ``response_refused``
  (``why``), ``receipt_refused`` (``why``), ``document_refused`` (``why``)
- to the DCC: ``response_returned_to_dcc``, ``response_return_waits``, ``response_not_returned``
"""
