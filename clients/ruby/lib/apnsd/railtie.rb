# frozen_string_literal: true

module Apnsd
  # Makes the client of a Rails application, Apnsd.client, from config/apnsd.yml (by environment, with ERB) and
  # +config.apnsd+, which wins. Both have the names of Client.new: url, timeout, apps; the latter also logger, which is
  # Rails.logger otherwise.
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
      known(section(app), NAMES - [:logger]).merge(known(app.config.apnsd, NAMES))
    end

    # What the file says for the environment of this process. A file that says nothing for it is told in the log, with
    # the environments that it has, unless the configuration has the apps.
    def self.section(app)
      file = app.root.join("config/apnsd.yml")
      return {} unless file.exist?

      environments = environments(file)
      if (environments & [::Rails.env, "shared"]).any?
        section = app.config_for(file)
        return section.to_h if section.is_a?(Hash)
        raise InvalidArguments, "#{::Rails.env}: a mapping is needed, not #{section.class}" unless section.nil?
      end
      unless app.config.apnsd.key?(:apps)
        has = environments.empty? ? "it is empty" : "it has #{environments.join(", ")}"
        ::Rails.logger.warn("#{file} says nothing for the environment #{::Rails.env} (#{has}): there are no apps")
      end
      {}
    end

    # Those that the file has.
    def self.environments(file)
      content = ActiveSupport::ConfigurationFile.parse(file) || {}
      return content.keys.map(&:to_s) if content.is_a?(Hash)

      raise InvalidArguments, "a mapping with the environments is needed, not #{content.class}"
    end

    def self.known(settings, names)
      unknown = settings.keys - names
      return settings if unknown.empty?

      raise InvalidArguments, "#{unknown.join(", ")}: unknown; there are #{names.join(", ")}"
    end
    private_class_method :section, :environments, :known
  end
end
