DROP TABLE idempotency_keys, event_head, events, credentials, api_keys, service_clients, audiences, permissions, signing_keys, master_keys;
DROP FUNCTION keyswap_now();
