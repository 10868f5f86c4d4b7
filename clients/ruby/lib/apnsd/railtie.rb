# frozen_string_literal: true

module Apnsd
  # Makes the client of a Rails application, Apnsd.client, from config/apnsd.yml (by environment, with ERB) and
  # +config.apnsd+, which wins. Both have the names of Client.new: url, timeout, apps. The log is Rails.logger.
  #
  # An application that calls Apnsd.configure in an initializer of its own is left alone.
  class Railtie < ::Rails::Railtie
    config.apnsd = ActiveSupport::OrderedOptions.new

    initializer "apnsd.configure", after: :load_config_initializers do |app|
      next if Apnsd.configured?

      file = app.root.join("config/apnsd.yml")
      settings = file.exist? ? app.config_for(file).to_h : {}
      Apnsd.configure(logger: ::Rails.logger, **settings, **app.config.apnsd)
    end
  end
end
