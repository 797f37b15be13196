# The image that takes the place of a Fluent Bit image: the same paths, the same arguments, no root and no compiler.
#
#   docker build -t shipper .
#   docker build --build-arg EXTRAS=systemd,lua,parquet -t shipper .      with Parquet and Arrow in S3, too
#
# Tests run these steps without an engine (tests/config_sets/image.py), in a tree of its own.

FROM python:3.11-slim-bookworm AS build
# What is compiled is the binding to the journal.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev pkg-config libsystemd-dev
ARG EXTRAS=systemd,lua
RUN python3 -m venv --copies /opt/shipper
COPY pyproject.toml README.md LICENSE /src/
COPY shipper /src/shipper
RUN /opt/shipper/bin/pip install --no-cache-dir "/src[$EXTRAS]"
# botocore describes four hundred services, of which five are spoken to and three more give out credentials.
RUN find /opt/shipper/lib/python3.11/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
    ! -name logs ! -name s3 ! -name kinesis ! -name firehose ! -name sts ! -name sso ! -name sso-oidc ! -name signin \
    -exec rm -rf {} +
RUN /opt/shipper/bin/pip uninstall --yes --quiet pip setuptools

FROM python:3.11-slim-bookworm
# The library of the journal; nothing here gives privileges to who runs it, and nothing installs anything.
RUN apt-get update && apt-get install -y --no-install-recommends libsystemd0 && rm -rf /var/lib/apt/lists/* \
    && pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip \
    && find / -xdev -perm /6000 -type f -exec chmod a-s {} +
COPY --from=build /opt/shipper /opt/shipper
COPY config/docker/launch /opt/shipper/bin/launch
COPY config/docker/fluent-bit.conf config/parsers.conf /fluent-bit/etc/
RUN mkdir -p /fluent-bit/bin && ln -s /opt/shipper/bin/launch /fluent-bit/bin/fluent-bit \
    && ln -s /opt/shipper/bin/launch /usr/local/bin/shipper
# Two interpreters that may read any file, or any file and write it, if the pod has that capability: 4 is DAC_READ_SEARCH,
# 2 is DAC_OVERRIDE. `launch` says which is taken. They are marked here because not every engine copies such marks.
RUN for mark in reads-all:4 owns-all:2; do \
    python=/opt/shipper/bin/python3-${mark%:*}; \
    cp /opt/shipper/bin/python3 $python; \
    python3 -c "import os, struct; os.setxattr('$python', 'security.capability', struct.pack('<5I', 0x2000001, ${mark#*:}, 0, 0, 0))"; \
    done
# A user without a name, so that no group or home comes with it. State belongs on a volume that this user may write.
RUN mkdir -p /var/lib/shipper && chown 10001:10001 /var/lib/shipper
USER 10001:10001
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /
EXPOSE 2020
ENTRYPOINT ["/fluent-bit/bin/fluent-bit"]
CMD ["-c", "/fluent-bit/etc/fluent-bit.conf"]
