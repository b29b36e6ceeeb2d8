#!/bin/sh
echo seeding $POSTGRES_DB
