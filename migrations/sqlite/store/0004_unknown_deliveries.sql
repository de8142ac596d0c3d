-- Few at any time, and looked for often: the metrics count them every few seconds, operators list them.
CREATE INDEX deliveries_unknown ON deliveries (channel) WHERE state = 'unknown';
