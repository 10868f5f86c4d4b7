# frozen_string_literal: true

require "time"

module Apnsd
  # The options of calls.
  module Options # :nodoc:
    module_function

    # As the daemon takes them: without what is nil, and with expirations in Unix seconds.
    def wire(options)
      options = options.compact
      options[:expiration] = each(options[:expiration]) { |time| seconds(time) } if options.key?(:expiration)
      options
    end

    # A number of seconds, as it can be written. Raises InvalidArguments.
    def duration(value, place = "timeout")
      unless value.is_a?(Numeric) && value.real? && value.positive? && value.finite?
        raise InvalidArguments, "#{place}: a number of seconds more than 0 is needed, not #{value.inspect}"
      end

      value.to_i == value ? value.to_i : value.to_f
    end

    # An option is one value for all tokens, or an array with one for each.
    def each(value, &block)
      value.is_a?(Array) ? value.map(&block) : yield(value)
    end
    private_class_method :each

    def seconds(time)
      time.respond_to?(:to_time) && !time.is_a?(String) ? time.to_time.to_i : time
    end
    private_class_method :seconds
  end
end
