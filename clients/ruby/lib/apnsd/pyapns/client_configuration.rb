# frozen_string_literal: true

module PYAPNS
  # Rack middleware that configures PYAPNS::Client when the application is built:
  #
  #   use PYAPNS::ClientConfiguration, host: "localhost", initial: [{ app_id: "myapp", cert: "…", env: "sandbox" }]
  class ClientConfiguration
    # Takes what Client#configure takes.
    def initialize(app, hash = {})
      @app = app
      Client.configure(hash)
    end

    def call(env)
      @app.call(env)
    end
  end
end
