# frozen_string_literal: true

module Apnsd
  # Makes the client of a Rails application, Apnsd.client, from config/apnsd.yml (by environment, with ERB) and
  # +config.apnsd+, which wins. Both have the names of Client.new: url, timeout, apps. The log is Rails.logger.
  #
  # An application that calls Apnsd.configure in an initializer of its own is left alone.
  class Railtie < ::Rails::Railtie
    NAMES = %i[url timeout apps logger].freeze
    private_constant :NAMES

    config.apnsd = ActiveSupport::OrderedOptions.new

    initializer "apnsd.configure", after: :load_config_initializers do |app|
      next if Apnsd.configured?

      Apnsd.configure(logger: ::Rails.logger, **Railtie.settings(app))
    rescue InvalidArguments => e
      raise InvalidArguments, "config/apnsd.yml or config.apnsd: #{e.message}"
    end

    # What the file and the configuration say, as Client.new takes it. Raises InvalidArguments for names it does not
    # have.
    def self.settings(app) # :nodoc:
      settings = section(app).merge(app.config.apnsd)
      unknown = settings.keys - NAMES
      return settings if unknown.empty?

      raise InvalidArguments, "#{unknown.join(", ")}: unknown; there are #{NAMES.join(", ")}"
    end

    # What the file says for the environment of this process.
    def self.section(app)
      file = app.root.join("config/apnsd.yml")
      return {} unless file.exist?

      section = app.config_for(file)
      return section.to_h if section.is_a?(Hash)
      raise InvalidArguments, "#{::Rails.env}: a mapping is needed, not #{section.class}" unless section.nil?

      unless app.config.apnsd.key?(:apps)
        ::Rails.logger.warn("config/apnsd.yml says nothing for the environment #{::Rails.env}")
      end
      {}
    end
    private_class_method :section
  end
end
