# frozen_string_literal: true

module Apnsd
  # Rack middleware that makes the application's client when the application is built:
  #
  #   use Apnsd::Middleware, apps: { "myapp" => { certificate_file: "myapp.pem", environment: "production" } }
  #
  # Requests find it under "apnsd.client" in their environment, everybody else under Apnsd.client.
  class Middleware
    # Takes the settings of Client.new.
    def initialize(app, **settings)
      @app = app
      Apnsd.configure(**settings)
    end

    def call(env)
      env["apnsd.client"] = Apnsd.client
      @app.call(env)
    end
  end
end
