#!/bin/sh
# A database and a role for each service that keeps something in SQL; PostgreSQL's image runs this when it is new.
# psql reads the passwords itself: an argument would show them to whoever lists processes.
set -eu

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set auth_password `cat /run/secrets/postgres_auth`
\set chat_password `cat /run/secrets/postgres_chat`
CREATE ROLE auth LOGIN PASSWORD :'auth_password';
CREATE ROLE chat LOGIN PASSWORD :'chat_password';
CREATE DATABASE auth OWNER auth;
CREATE DATABASE chat OWNER chat;
REVOKE ALL ON DATABASE auth, chat, postgres FROM PUBLIC;
SQL
