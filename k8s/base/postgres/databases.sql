-- Runs once, when the volume is empty. Each service has a database that it owns, and no way into the other's.
\getenv auth_password POSTGRES_AUTH_PASSWORD
\getenv chat_password POSTGRES_CHAT_PASSWORD

CREATE ROLE auth LOGIN PASSWORD :'auth_password';
CREATE ROLE chat LOGIN PASSWORD :'chat_password';
CREATE DATABASE auth OWNER auth;
CREATE DATABASE chat OWNER chat;
REVOKE ALL ON DATABASE auth FROM PUBLIC;
REVOKE ALL ON DATABASE chat FROM PUBLIC;
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
