# frozen_string_literal: true

require "apnsd"
require "apnsd/pyapns/notification"
require "apnsd/pyapns/client"
require "apnsd/pyapns/client_configuration"

# The Ruby client of pyapns, for applications that were written for it; PYAPNS.md tells what differs.
module PYAPNS
  UnknownAppID = Apnsd::UnknownAppID
  InvalidEnvironment = Apnsd::InvalidEnvironment
  ServerTimeout = Apnsd::ServerTimeout
  NotConfigured = Apnsd::NotConfigured
  InvalidArguments = Apnsd::InvalidArguments
end
