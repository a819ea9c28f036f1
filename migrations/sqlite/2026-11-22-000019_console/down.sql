DROP TABLE branding;
DROP TABLE exchange_counts;
