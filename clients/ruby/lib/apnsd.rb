# frozen_string_literal: true

require "apnsd/version"
require "apnsd/errors"
require "apnsd/codec"
require "apnsd/shape"
require "apnsd/log"
require "apnsd/notification"
require "apnsd/options"
require "apnsd/app"
require "apnsd/batch"
require "apnsd/deadline"
require "apnsd/connection"
require "apnsd/endpoint"
require "apnsd/transport"
require "apnsd/client"

# The client of apnsd, a push-notification daemon. Start reading at Apnsd::Client.
module Apnsd
  autoload :FeedbackJob, "apnsd/feedback_job"
  autoload :Middleware, "apnsd/middleware"

  class << self
    # Makes the client of this application, which Apnsd.client returns, with the settings of Client.new.
    def configure(**settings)
      @client = Client.new(**settings)
    end

    # The client of this application. Raises NotConfigured where Apnsd.configure was never called.
    def client
      @client || raise(NotConfigured, "call Apnsd.configure first; in Rails, write config/apnsd.yml")
    end

    # Whether Apnsd.configure was called.
    def configured?
      !@client.nil?
    end
  end
end

require "apnsd/railtie" if defined?(Rails::Railtie)
